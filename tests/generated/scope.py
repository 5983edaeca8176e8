"""What a strategy writes a model into: names, lines, leaves, and the choices drawn."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import hypothesis.strategies as st

from tests.generated.program import Array, Assign, Define, Shape, Statement

SIZES = (2, 3, 5, 7)
ROOM = 220

Item = TypeVar("Item")


@dataclasses.dataclass(frozen=True)
class Value:
    """A name in the program and its shape, the example axis left out."""

    name: str
    shape: Shape

    def __str__(self) -> str:
        return self.name

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclasses.dataclass(kw_only=True)
class Model:
    """What all scopes of one model share.

    Attributes:
        room: How many more elements the leaves should have.
        leaves: The leaves so far.
        constants: The constants so far.
        n_names: How many names were given.
        tokens: The tokens of an example, where it has some.
        vocabulary: How many different tokens there are.
        forward_mode: Whether JAX can push tangents forward through the model.
    """

    room: int = ROOM
    leaves: list[Array] = dataclasses.field(default_factory=list)
    constants: list[Array] = dataclasses.field(default_factory=list)
    n_names: int = 0
    tokens: Value | None = None
    vocabulary: int = 1
    forward_mode: bool = True


@dataclasses.dataclass(kw_only=True)
class Loop:
    """The loop that a scope is the body of.

    Attributes:
        length: How often it runs.
        counter: Name of the number of the iteration, where there is one.
        scanned: Names in the body with what is scanned over for them, outside.
    """

    length: int
    counter: str | None
    scanned: list[tuple[str, str]] | None


@dataclasses.dataclass(kw_only=True)
class Scope:
    """The body of a function that is being written.

    Expressions use `...` and negative axes, so that they hold with an example axis
    (`lead` is one) and without (zero).

    Attributes:
        draw: Hypothesis' choice from a strategy.
        model: What all scopes share.
        lead: How many example axes values have.
        depth: How many functions it is inside of.
        lines: The statements so far.
        weights: Data-free values that can be used again.
        values: Data that can be used again.
        loop: The innermost loop around it.
        outer: The scope around it.
        twice: Whether the function is differentiated inside the model.
    """

    draw: Callable[[st.SearchStrategy[Any]], Any]
    model: Model
    lead: int
    depth: int = 0
    lines: list[Statement] = dataclasses.field(default_factory=list)
    weights: list[Value] = dataclasses.field(default_factory=list)
    values: list[Value] = dataclasses.field(default_factory=list)
    loop: Loop | None = None
    outer: Scope | None = None
    twice: bool = False

    def inner(self, lead: int | None = None, loop: Loop | None = None) -> Scope:
        """Returns the scope of a function that is defined in this one."""
        return Scope(
            draw=self.draw,
            model=self.model,
            lead=self.lead if lead is None else lead,
            depth=self.depth + 1,
            weights=list(self.weights),
            loop=loop or self.loop,
            outer=self,
            twice=self.twice,
        )

    def choose(self, options: Sequence[Item]) -> Item:
        """Draws one of some options, the simplest first."""
        return self.draw(st.sampled_from(list(options)))

    def integer(self, least: int, most: int) -> int:
        return self.draw(st.integers(least, most))

    def flag(self) -> bool:
        return self.draw(st.booleans())

    def rarely(self, one_in: int = 5) -> bool:
        return self.integer(0, one_in - 1) == one_in - 1

    def permutation(self, items: Sequence[Item]) -> list[Item]:
        return list(self.draw(st.permutations(list(items))))

    def size(self, avoid: Sequence[int] = (), most: int = 7) -> int:
        """Draws a small prime, seldom one, that is none of the sizes to avoid."""
        if self.rarely(12):
            return 1
        free = [size for size in SIZES if size not in avoid and size <= most]
        return self.choose(free or [size for size in SIZES if size <= most] or [2])

    def name(self, stem: str) -> str:
        self.model.n_names += 1
        return f"{stem}{self.model.n_names}"

    def let(self, expression: str, shape: Shape, stem: str = "h") -> Value:
        """Writes a line and returns the value that it defines."""
        value = Value(self.name(stem), tuple(shape))
        self.lines.append(Assign(target=value.name, expression=expression))
        if stem == "h":
            self.values.append(value)
        return value

    def run(self, expression: str) -> None:
        """Writes a line that defines nothing."""
        self.lines.append(Assign(expression=expression))

    def define(
        self,
        body: Scope,
        arguments: Sequence[str],
        returns: str,
        stem: str = "block",
        decorator: str = "",
    ) -> str:
        """Writes a local function and returns its name."""
        name = self.name(stem)
        self.lines.append(
            Define(
                name=name,
                arguments=tuple(arguments),
                body=tuple(body.lines),
                returns=returns,
                decorator=decorator,
            )
        )
        return name

    def leaf(self, shape: Shape, positive: bool = False) -> Value:
        """Makes a new leaf, visible everywhere."""
        leaf = Array(
            name=f"w{len(self.model.leaves)}", shape=tuple(shape), positive=positive
        )
        self.model.leaves.append(leaf)
        self.model.room -= leaf.size
        value = Value(leaf.name, leaf.shape)
        scope: Scope | None = self
        while scope is not None and not positive:
            scope.weights.append(value)
            scope = scope.outer
        return value

    def constant(self, shape: Shape, positive: bool = False) -> str:
        """Makes an array that the model closes over and returns its name."""
        name = f"c{len(self.model.constants)}"
        made = Array(name=name, shape=tuple(shape), positive=positive)
        self.model.constants.append(made)
        return name
