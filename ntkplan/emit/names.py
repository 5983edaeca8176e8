"""Short Python names out of parameter paths."""

from __future__ import annotations

import builtins
import itertools
import keyword
import re
import types
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from typing import Any

# Names that the emitted module uses for itself.
RESERVED = frozenset(
    (
        *keyword.kwlist,
        *dir(builtins),
        *("activations", "cotangents", "derivatives", "forward", "kernel", "pushed"),
        *("jax", "jnp", "lax", "params", "shifts", "taps", "theta", "x"),
        *("windows", "windows_and_one", "window_pieces"),
        *("x1", "x2", "basis", "output", "pull_back", "leaves", "numpy"),
        *("inner_products", "itertools", "match_rows", "math", "pathlib"),
        *(
            "kernel_block",
            "from_lower_blocks",
            "over_lower_tiles",
            "over_tiles",
            "side1",
            "side2",
            "sum_rows",
            "take_rows",
            *("check_shapes", "dense_kernel", "random_like", "shapes", "Fields"),
            "nested",
            *("PARAMS", "X", "PARTS", "FOUND", "read_constants", "hashlib"),
            *("described", "equations", "one_example", "function_of", "trace_model"),
            "zero_shifts",
            "zero_tangents",
            "zero_taps",
            "zeros",
            "of",
            *("part", "parts", "a1", "a2", "c1", "c2"),
            *("in_order", "both_sides", "Layout", "with_layout_constraint"),
        ),
    )
)

_NO_NAMES: Mapping[str, str] = types.MappingProxyType({})


def identifier(text: str) -> str:
    """Returns a text as a Python identifier.

    Example:
        >>> identifier("Dense 0/kernel")
        'Dense_0_kernel'
        >>> identifier("σ"), identifier("größe")
        ('sigma', 'grosse')
    """
    name = re.sub(r"\W+", "_", spelled_out(text), flags=re.ASCII).strip("_")
    return f"p{name}" if not name or name[0].isdigit() else name


def spelled_out(text: str) -> str:
    """Returns a text in ASCII: Greek letters by their names, others without accents.

    Names in files are matched, and told apart, as words of ASCII letters.

    Example:
        >>> spelled_out("α/kernel"), spelled_out("poids_été")
        ('alpha/kernel', 'poids_ete')
    """
    letters: list[str] = []
    for letter in text.replace("ß", "ss"):
        name = unicodedata.name(letter, "").split()
        if name[:1] == ["GREEK"] and "LETTER" in name:
            word = name[name.index("LETTER") + 1].lower()
            letters.append(word.capitalize() if "CAPITAL" in name else word)
        else:
            plain = unicodedata.normalize("NFKD", letter)
            plain = "".join(c for c in plain if not unicodedata.combining(c))
            letters.append(plain if plain.isascii() else "_")
    return "".join(letters)


def key_text(key: Any) -> str:
    """Returns a key as Python, in double quotes where there are none in it.

    Example:
        >>> print(key_text("a b"), key_text("it's"), key_text('"'), key_text(3))
        "a b" "it's" '"' 3
    """
    text = repr(key)
    quoted = isinstance(key, str) and not {"'", '"'} & set(key)
    return text.replace("'", '"') if quoted else text


def unique(name: str, taken: Collection[str]) -> str:
    """Returns a name that is not taken, with a number behind it where need be.

    Example:
        >>> unique("h", {"h"})
        'h_1'
    """
    return free(name, {*taken, *RESERVED})


def free(name: str, taken: Collection[str]) -> str:
    """Returns a name that is not taken; reserved ones are as good as others."""
    candidate, number = name, 0
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    return candidate


def leaf_names(
    paths: Sequence[str], long: Mapping[str, str] = _NO_NAMES
) -> tuple[str, ...]:
    """Names leaves by the shortest ends of their paths that tell them apart.

    Args:
        paths: Their paths.
        long: For paths, what to call them instead of by the whole path.

    Example:
        >>> leaf_names(["0/w", "0/b", "1/w", "head/scale"])
        ('w0', 'b0', 'w1', 'scale')
    """
    wanted = [_short(path) for path in paths]
    names: list[str] = []
    for path, short in zip(paths, wanted, strict=True):
        whole = long.get(path) or identifier(path)
        name = short if wanted.count(short) == 1 else whole
        names.append(unique(name, names))
    return tuple(names)


def _short(path: str) -> str:
    """Returns the last word of a path, with the numbers that stand before it."""
    parts = [part for part in path.split("/") if part]
    words = [part for part in parts if not part.isdigit()]
    numbers = [part for part in parts if part.isdigit()]
    if not words:
        return identifier("w" + "_".join(numbers))
    return identifier(words[-1] + "_".join(numbers))


def layer_name(path: str) -> str:
    """Names what a leaf belongs to: its path without the last part.

    Example:
        >>> layer_name("blocks/0/q/w"), layer_name("w1")
        ('blocks_0_q', 'w1')
    """
    parts = [part for part in path.split("/") if part]
    kept = parts[:-1] or parts or ["params"]
    name = identifier("/".join(kept))
    return f"layer{name[1:]}" if kept[0].isdigit() else name


def short_layer_names(paths: Sequence[str]) -> dict[str, str]:
    """Names what leaves belong to without the lists that it lies in, as far as clear.

    Args:
        paths: Paths of leaves.

    Returns:
        By path the names, the same for leaves that belong to the same.

    Example:
        >>> short_layer_names(["layers/0/conv/w", "skip/conv/w"])
        {'layers/0/conv/w': 'conv_0', 'skip/conv/w': 'skip_conv'}
    """
    whole = {path: layer_name(path) for path in paths}
    short = {path: layer_name(_without_lists(path)) for path in paths}
    meant: dict[str, set[str]] = {}
    for path in paths:
        meant.setdefault(short[path], set()).add(whole[path])
    return {
        path: short[path] if len(meant[short[path]]) == 1 else whole[path]
        for path in paths
    }


def _without_lists(path: str) -> str:
    """Moves the numbers of a path behind its words, and drops what they count.

    Example:
        >>> _without_lists("layers/0/conv/w"), _without_lists("layers/0/w")
        ('conv/0/w', 'layers/0/w')
    """
    *words, last = path.split("/")
    numbers = [word for word in words if word.isdigit()]
    kept = [
        word
        for word, after in itertools.pairwise([*words, ""])
        if not word.isdigit() and not after.isdigit()
    ]
    return "/".join([*kept, *numbers, last]) if kept else path


def function_name(path: str) -> str:
    """Names the function of parts after the last word of a path.

    Example:
        >>> function_name("blocks/0"), function_name("ResNetBlock_3")
        ('block', 'res_net_block')
    """
    words = [re.sub(r"[_\d]+$", "", word) for word in spelled_out(path).split("/")]
    word = next((word for word in reversed(words) if word), "layer")
    name = re.sub(r"\W+", "_", word).strip("_") or "layer"
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    if len(name) > 3 and name.endswith("s") and not name.endswith("ss"):
        name = name[:-1]
    return name
