"""Texts that count up, such as keys of equal parts, as one text with a number in it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence

from ntkplan.emit.expression import INDENT
from ntkplan.emit.layout import WIDTH

_SKIP = "  # fmt: skip"
_LEAST_NAMED = 2
_MOST_LISTED = 4

LEAST = 3
"""How many texts must count up for a loop over numbers to be clearer than a list."""


def counting(texts: Sequence[str]) -> tuple[str, int] | None:
    """Returns what counts up as a format text in `i`, and the first number.

    Args:
        texts: Texts in which at most one number differs.

    Returns:
        None where the texts differ in more, or do not count up by one.

    Example:
        >>> counting(["blocks_4", "blocks_5", "blocks_6"])
        ('blocks_{i}', 4)
    """
    pieces = [re.split(r"(\d+)", text) for text in texts]
    if len({len(each) for each in pieces}) > 1:
        return None
    columns = list(zip(*pieces, strict=True))
    varying = [place for place, column in enumerate(columns) if len(set(column)) > 1]
    if len(varying) != 1 or not varying[0] % 2:
        return None
    numbers = [int(text) for text in columns[varying[0]]]
    spelled = [str(number) for number in numbers] == list(columns[varying[0]])
    steps = {after - before for before, after in itertools.pairwise(numbers)}
    if steps != {1} or not spelled or "{" in texts[0] or "}" in texts[0]:
        return None
    first = list(pieces[0])
    first[varying[0]] = "{i}"
    return "".join(first), numbers[0]


def range_text(start: int, count: int) -> str:
    """Returns Python text for so many numbers from one on.

    Example:
        >>> range_text(0, 12), range_text(1, 3)
        ('range(12)', 'range(1, 4)')
    """
    return f"range({count})" if start == 0 else f"range({start}, {start + count})"


class PartLoops:
    """Heads of loops over parts of a model; what many run over has a name.

    Attributes:
        definition: The statement that gives all the parts a name, if one is needed.

    Example:
        >>> loops = PartLoops({f"a_{i}": f"a/{i}" for i in range(5)}, [])
        >>> loops.head([f"a_{i}" for i in range(5)])
        (['for i in range(5):  # a/0 to a/4, 5 parts'], 'f"a_{i}"')
        >>> loops.head([f"a_{i}" for i in (4, 3, 2, 1, 0)])
        (['for i in reversed(range(5)):  # a/4 to a/0, 5 parts'], 'f"a_{i}"')
        >>> loops.head(["a_1", "a_2"])
        (['for part in ("a_1", "a_2"):'], 'part')
    """

    def __init__(
        self, paths: Mapping[str, str], loops: Sequence[Sequence[str]]
    ) -> None:
        """Decides whether the parts get a name.

        Args:
            paths: Paths of the parts by their keys, in the order of their contractions.
            loops: The keys that the loops run over.
        """
        used = {key for keys in loops for key in keys}
        self._paths = paths
        self._named = [key for key in paths if key in used]
        several = {tuple(keys) for keys in loops if len(keys) > 1}
        listed = [keys for keys in several if self._counted(keys) is None]
        if len([keys for keys in listed if self._slice(keys)]) < _LEAST_NAMED:
            self._named = []
        texts = [f'"{key}"' for key in self._named]
        self.definition = packed("parts = (", texts, ")") if texts else []

    def head(self, keys: Sequence[str]) -> tuple[list[str], str]:
        """Returns the head of a loop, nothing for one key, and text for a key in it."""
        if len(keys) == 1:
            return [], f'"{keys[0]}"'
        texts = [f'"{key}"' for key in keys]
        line = f"for part in ({', '.join(texts)}):"
        if len(keys) <= _MOST_LISTED and not self._slice(keys) and len(line) <= WIDTH:
            return [line], "part"
        first, last = self._paths[keys[0]], self._paths[keys[-1]]
        said = f"# {first} to {last}, {len(keys)} parts"
        counted = self._counted(keys)
        listed = self._slice(keys) or self._without(keys)
        if listed:
            line = f"for part in {listed}:"
        elif counted is not None:
            line = f"for i in {counted[1]}:"
        else:
            return [said, *packed("for part in (", texts, "):")], "part"
        key = "part" if listed or counted is None else f'f"{counted[0]}"'
        together = f"{line}  {said}"
        return ([together] if len(together) <= WIDTH else [said, line]), key

    def listed(self, keys: Sequence[str]) -> str:
        """Returns text for some parts: a slice of all of them, or a list of keys."""
        texts = [f'"{key}"' for key in keys]
        if len(keys) == 1:
            return f"[{texts[0]}]"
        without = self._without(keys) if len(keys) > _MOST_LISTED else ""
        return self._slice(keys) or without or f"({', '.join(texts)})"

    def defined(self, name: str, keys: Sequence[str]) -> list[str]:
        """Returns a statement that gives some parts a name."""
        line = f"{name} = {self.listed(keys)}"
        if len(line) <= WIDTH:
            return [line]
        return packed(f"{name} = (", [f'"{key}"' for key in keys], ")")

    def _counted(self, keys: Sequence[str]) -> tuple[str, str] | None:
        """Returns a format text for keys that count up or down, and text for what."""
        if len(keys) < LEAST:
            return None
        if (up := counting(keys)) is not None:
            return up[0], range_text(up[1], len(keys))
        if (down := counting(keys[::-1])) is not None:
            return down[0], f"reversed({range_text(down[1], len(keys))})"
        return None

    def _slice(self, keys: Sequence[str]) -> str:
        """Returns text for parts that follow upon each other, or nothing."""
        if not self._named:
            return ""
        start = self._named.index(keys[0])
        stop = start + len(keys)
        if self._named[start:stop] != list(keys):
            return ""
        if len(keys) == len(self._named):
            return "parts"
        return f"parts[{start or ''}:{stop if stop < len(self._named) else ''}]"

    def _without(self, keys: Sequence[str]) -> str:
        """Returns text for all parts but a few, or nothing."""
        if not self._named:
            return ""
        places = [self._named.index(key) for key in keys]
        around = self._named[min(places) : max(places) + 1]
        others = [f'"{key}"' for key in around if key not in keys]
        if not 1 < len(others) <= len(keys) // 2:
            return ""
        text = f"[p for p in {self._slice(around)} if p not in ({', '.join(others)})]"
        return text if len(text) + len("for part in :") <= WIDTH else ""


def packed(
    opening: str, texts: Sequence[str], closing: str, margin: str = INDENT * 2
) -> list[str]:
    """Prints a long collection; its lines are full, and formatters leave it."""
    lines = [opening]
    afters = [", "] * (len(texts) - 1) + [closing]
    for number, (text, after) in enumerate(zip(texts, afters, strict=True)):
        is_last = number == len(texts) - 1
        note = len(_SKIP) if is_last and len(lines) > 1 else 0
        if len(lines[-1]) + len(text) + len(after.rstrip()) + note > WIDTH:
            lines[-1] = lines[-1].rstrip()
            lines.append(margin)
        lines[-1] += text + after
    return lines if len(lines) == 1 else [*lines[:-1], lines[-1] + _SKIP]
