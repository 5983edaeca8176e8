"""Which numbers of examples an exported program takes."""

from __future__ import annotations

import ast
import dataclasses

from ntkplan.errors import MismatchedInputsError

_TILES = "over_tiles"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes:
    """Numbers of examples: free, free from some number on, or fixed.

    Attributes:
        n1: Examples in `x1`, or the least of them; None where the batch as a whole is
            one input.
        n2: Likewise in `x2`; None where it is absent or as large as `x1`.
        fixed: Whether no other numbers are taken.
        why: Why they are not free; empty where they are.
    """

    n1: int | None
    n2: int | None
    fixed: bool
    why: str = ""

    @property
    def named(self) -> dict[str, int]:
        """The numbers that there are, by name."""
        both = {"n1": self.n1, "n2": self.n2}
        return {name: count for name, count in both.items() if count is not None}

    def describe(self) -> str:
        """Says what is taken, in words.

        Example:
            >>> Sizes(n1=1, n2=1, fixed=False).describe()
            'n1 and n2 free'
            >>> Sizes(n1=64, n2=None, fixed=False, why="it has tiles").describe()
            'n1 free from 64 on: it has tiles'
        """
        if not self.named:
            return "the whole batch, of the size that was planned for"
        names = " and ".join(self.named)
        if self.fixed:
            counts = " and ".join(f"{name}={n}" for name, n in self.named.items())
            return f"{counts} alone: {self.why}"
        if set(self.named.values()) == {1}:
            return f"{names} free"
        counts = " and ".join(map(str, self.named.values()))
        return f"{names} free from {counts} on: {self.why}"

    def check(self, n1: int, n2: int | None) -> None:
        """Checks numbers of examples.

        Raises:
            MismatchedInputsError: They are not among those that are taken.
        """
        got = {"n1": n1, "n2": n2}
        for name, count in self.named.items():
            given = got[name]
            if given is None or (given == count if self.fixed else given >= count):
                continue
            raise MismatchedInputsError(
                what=f"the number of examples in x{name[1]}",
                got=given,
                wanted=count if self.fixed else f"at least {count}",
                hint=f"The exported kernel takes {self.describe()}. Pass as many, or "
                "export a plan that was made for this number",
            )


def largest_tile(text: str) -> int:
    """Returns how many examples the tiles of an emitted module have; 1 without tiles.

    A kernel in tiles takes no fewer examples than a tile has, unless their number is
    known while it is traced.

    Args:
        text: The module's source.

    Example:
        >>> largest_tile("theta = over_tiles(row, x1, 64, 0)")
        64
    """
    found = [1]
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        if not node.func.id.startswith(_TILES) or len(node.args) != 4:
            continue
        arrays, size = node.args[1:3]
        if isinstance(arrays, ast.Name) and arrays.id == "basis":
            continue  # tiles of outputs, whose number is known
        if isinstance(size, ast.Constant) and isinstance(size.value, int):
            found.append(size.value)
    return max(found)
