"""The example axis as a factor of an array's axis, and what an equation does to it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence

from jax import lax

from ntkplan._jax import Primitive, primitives
from ntkplan.ir.equation import Atom, Equation


@dataclasses.dataclass(frozen=True, kw_only=True, order=True)
class Factor:
    """One axis of an array read as `[before, count, after]`, `count` being examples.

    An axis that holds nothing but the examples has `before == after == 1`; reshapes
    merge it with the axes around it and split it off again.

    Attributes:
        position: Which axis of the array.
        before: How many blocks of all the examples the axis holds.
        count: How many examples there are.
        after: How many neighbouring elements of the axis belong to one example.
    """

    position: int
    before: int
    count: int
    after: int

    def at(self, position: int) -> Factor:
        """Returns the same factor of another axis."""
        return dataclasses.replace(self, position=position)

    @property
    def length(self) -> int:
        """The length of the whole axis."""
        return self.before * self.count * self.after

    @property
    def alone(self) -> bool:
        """Whether the axis holds nothing but the examples."""
        return self.before == 1 and self.after == 1

    def overlaps(self, other: Factor) -> bool:
        """Whether an index of the one factor says something about the other's."""
        return (
            self.position == other.position
            and self.after < other.after * other.count
            and other.after < self.after * self.count
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mixes:
    """The output certainly depends on several examples at once."""

    why: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Selects:
    """The output is an order statistic or a count of several examples.

    What comes of it can cancel (the largest value that a softmax subtracts), so that
    this alone proves nothing.

    Attributes:
        why: What the equation does, for the message.
        masks: Whether the output can single out an example of those that a later
            equation sums, so that the sum is no proof either.
    """

    why: str
    masks: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unclear:
    """The rule cannot say where the examples go.

    Attributes:
        why: What is unclear, for the message.
        lands: Whether the axis still has a place in the output; False where an index
            says which of its elements are taken.
    """

    why: str
    lands: bool = True


Outcome = Factor | Mixes | Selects | Unclear

# (equation, number of the operand, factor of that operand) -> where the factor is in
# the output; a tuple has one outcome for each output, anything else holds for all.
AxisRule = Callable[[Equation, int, Factor], Outcome | tuple[Outcome, ...]]


def shape_of(atom: Atom) -> tuple[int, ...]:
    """Returns the shape of a variable or literal, () for what has none."""
    return tuple(int(size) for size in getattr(atom.aval, "shape", ()))


def named(names: Iterable[str]) -> list[Primitive]:
    """Returns the primitives of `jax.extend` with these names, without their `_p`."""
    return [getattr(primitives, f"{name}_p") for name in names]


def named_where_present(names: Iterable[str]) -> list[Primitive]:
    """Returns the primitives that this version of JAX has in public under a name.

    For those that only some of the supported versions have.
    """
    homes = (primitives, lax, lax.linalg)
    return [
        next(getattr(home, f"{name}_p") for home in homes if hasattr(home, f"{name}_p"))
        for name in names
        if any(hasattr(home, f"{name}_p") for home in homes)
    ]


def factors_of_axis(position: int, length: int, count: int) -> tuple[Factor, ...]:
    """Returns every way in which an axis can hold a factor of `count`.

    >>> [factor.after for factor in factors_of_axis(0, 26, 13)]
    [1, 2]
    >>> factors_of_axis(0, 25, 13)
    ()
    """
    if length == 0 or length % count:
        return ()
    rest = length // count
    small = [part for part in range(1, math.isqrt(rest) + 1) if rest % part == 0]
    return tuple(
        Factor(position=position, before=rest // after, count=count, after=after)
        for after in sorted({*small, *(rest // part for part in small)})
    )


def through_reshape(
    before: Sequence[int], after: Sequence[int], factor: Factor
) -> Factor | None:
    """Returns where a factor is after a row-major reshape, None where it is cut.

    >>> factor = Factor(position=0, before=1, count=13, after=1)
    >>> through_reshape((13, 5, 4), (65, 4), factor)
    Factor(position=0, before=1, count=13, after=5)
    >>> through_reshape((13, 6), (2, 39), factor) is None
    True
    """
    # An axis of length zero leaves nothing to count; the others keep their order.
    inner = [length or 1 for length in before[factor.position + 1 :]]
    stride = factor.after * math.prod(inner)
    tail = 1
    for position in reversed(range(len(after))):
        whole = tail * (after[position] or 1)
        if tail <= stride and stride * factor.count <= whole:
            if stride % tail or whole % (stride * factor.count):
                return None
            return Factor(
                position=position,
                before=whole // (stride * factor.count),
                count=factor.count,
                after=stride // tail,
            )
        tail = whole
    return None
