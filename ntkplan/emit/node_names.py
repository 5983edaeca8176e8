"""Names for trees in `params`: their paths, or ends of them where those are long."""

from __future__ import annotations

import collections
import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from ntkplan.emit.names import layer_name

LONGEST = 24
"""Letters of a name that is made of a whole path: two of them fit on a line."""

_LONGEST_KEY = 32

# Words that no name ends with.
_LINKS = frozenset(("and", "for", "from", "in", "of", "the", "to", "with"))

_Parts = tuple[str, ...]


def node_names(paths: Collection[str]) -> dict[str, str]:
    """Names what is in a tree, in a way that depends on nothing but the tree.

    A long name is the shortest end of the path that no other node's path has, whatever
    the numbers in it are, so that what differs in numbers is named alike. What all
    paths begin with, such as Flax's `params`, is left out.

    Args:
        paths: Paths of all leaves.

    Returns:
        Names of leaves and of the trees that hold them, by their paths.

    Example:
        >>> names = node_names(
        ...     ["net/encoder_layer_0/self_attention/q/w", "net/encoder_layer_0/mlp/w"]
        ... )
        >>> names["net/encoder_layer_0/self_attention"], names["net/encoder_layer_0"]
        ('self_attention', 'encoder_layer_0')
    """
    nodes = [tuple(path.split("/")) for path in _nodes(paths)]
    start = _common_start([tuple(path.split("/")) for path in paths])
    alike: dict[_Parts, list[_Parts]] = {}
    for node in nodes:
        alike.setdefault(tuple(map(_template, node)), []).append(node)
    names: dict[str, str] = {}
    for template, members in alike.items():
        kept = [member[len(start) :] or member for member in members]
        whole = [_joined(member) for member in kept]
        if max(map(len, whole)) > LONGEST:
            count = _shortest(template, members, alike)
            whole = [_joined(member[-count:]) for member in kept]
        for member, name in zip(members, whole, strict=True):
            names["/".join(member)] = name
    return _with_short_keys(names)


def short_key(key: str) -> str:
    """Returns the first words of a very long key, with the number at its end.

    Example:
        >>> short_key("self_attention_with_relative_positions_3")
        'self_attention_3'
        >>> short_key("self_attention_3")
        'self_attention_3'
    """
    if len(key) <= _LONGEST_KEY:
        return key
    text = key.rstrip("0123456789").rstrip("_")
    words = text.split("_")
    while len(words) > 1 and (
        len("_".join(words)) > LONGEST or words[-1].lower() in _LINKS
    ):
        words.pop()
    return "_".join(words) + key[len(text) :]


def _with_short_keys(names: Mapping[str, str]) -> dict[str, str]:
    """Shortens names that are very long, as far as others are not the same then."""
    short = {path: short_key(name) for path, name in names.items()}
    counts = collections.Counter(short.values())
    return {
        path: short[path] if counts[short[path]] == 1 else name
        for path, name in names.items()
    }


def _nodes(paths: Iterable[str]) -> dict[str, None]:
    """Returns the paths of leaves and of all that holds them, in order."""
    return dict.fromkeys(
        "/".join(parts[:count])
        for parts in (path.split("/") for path in paths)
        for count in range(1, len(parts) + 1)
    )


def _common_start(paths: Sequence[_Parts]) -> _Parts:
    """Returns what all paths begin with, where names are left without it."""
    first = paths[0][:1] if paths else ()
    if all(path[:1] == first and len(path) > 2 for path in paths):
        numbered = any(path[1].isdigit() for path in paths)
        return () if numbered else first
    return ()


def _template(part: str) -> str:
    return re.sub(r"\d+", "#", part)


def _joined(parts: _Parts) -> str:
    return layer_name("/".join([*parts, "leaf"]))


def _shortest(
    template: _Parts,
    members: Sequence[_Parts],
    alike: Collection[_Parts],
) -> int:
    """Returns how many parts at the end tell nodes from others and from each other."""
    for count in range(1, len(template)):
        end = template[-count:]
        if end[0] == "#":
            continue
        others = [other for other in alike if other[-count:] == end]
        if len(others) == 1 and len({x[-count:] for x in members}) == len(members):
            return count
    return len(template)
