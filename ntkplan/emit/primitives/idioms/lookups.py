"""Gathers as indexing: `table[rows]`, `jnp.take`, `.at[...].get(mode=...)`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from jax import lax

from ntkplan._jax import Literal, Primitive, Var, primitives
from ntkplan.emit.expression import (
    Expression,
    atom,
    attribute,
    call,
    method,
    subscript,
)
from ntkplan.emit.primitives.idioms.matching import Producers, Proposal, Proposer
from ntkplan.emit.primitives.value import aval_of
from ntkplan.ir.equation import Atom, Equation

_MOST_TRIED = 8
_SHAPING = (
    primitives.broadcast_in_dim_p,
    primitives.reshape_p,
    primitives.convert_element_type_p,
)
_MODES = {
    lax.GatherScatterMode.CLIP: "clip",
    lax.GatherScatterMode.FILL_OR_DROP: "fill",
    lax.GatherScatterMode.PROMISE_IN_BOUNDS: "promise_in_bounds",
}

Item = str | None
"""An index item: text, or None for an array that is filled in."""


def lookups(last: Equation, producers: Producers) -> Iterator[Proposal]:
    """A gather of whole rows, columns or elements."""
    table, indices = last.inputs
    numbers = last.parameters["dimension_numbers"]
    lead = len(numbers.operand_batching_dims)
    if lead:
        yield from _along_axis(last, producers)
        if not _batches_in_front(numbers, lead):
            return
    indexed = [int(axis) - lead for axis in numbers.start_index_map]
    if sorted(int(axis) - lead for axis in numbers.collapsed_slice_dims) != sorted(
        indexed
    ):
        return
    for items, arrays in index_items(indices, indexed, producers):
        for write in _readings(last, items):
            yield Proposal(operands=(table, *arrays), write=over_examples(write, lead))


def _batches_in_front(numbers: Any, lead: int) -> bool:
    front = tuple(range(lead))
    return (
        tuple(map(int, numbers.operand_batching_dims)) == front
        and tuple(map(int, numbers.start_indices_batching_dims)) == front
    )


def index_items(
    indices: Atom, axes: Sequence[int], producers: Producers
) -> Iterator[tuple[list[Item], list[Atom]]]:
    """Ways to write the indices of the given axes, the arrays in the items' order.

    Args:
        indices: What the gather or scatter is given.
        axes: The axes that they count, in their order.
        producers: What defines them.
    """
    joined = producers.find(indices, primitives.concatenate_p)
    parts: Sequence[Atom] = joined.inputs if joined and len(axes) > 1 else (indices,)
    if len(parts) != len(axes):
        return
    choices = [list(unwrapped(part, producers)) for part in parts]
    for chosen in itertools.islice(itertools.product(*choices), _MOST_TRIED):
        by_axis = dict(zip(axes, chosen, strict=True))
        items: list[Item] = [":"] * (max(axes) + 1)
        arrays: list[Atom] = []
        for axis in sorted(by_axis):
            item = by_axis[axis]
            if isinstance(item, Literal):
                items[axis] = str(int(item.val))
            else:
                items[axis] = None
                arrays.append(item)
        yield items, arrays


def unwrapped(item: Atom, producers: Producers) -> Iterator[Atom]:
    """What an index may have been before JAX made it count from the start."""
    bare = producers.behind(item, *_SHAPING)
    chosen = producers.find(bare, primitives.select_n_p)
    test = chosen and producers.find(chosen.inputs[0], primitives.lt_p)
    if chosen is not None and test is not None:
        inside = chosen.inputs[1]
        root = producers.behind(inside, primitives.broadcast_in_dim_p)
        yield inside
        if root is not inside:
            yield root
    yield bare
    shaping = producers.find(item, *_SHAPING)
    if shaping is not None and shaping.inputs[0] is not bare:
        yield shaping.inputs[0]


def filled(items: Sequence[Item], arrays: Sequence[Expression]) -> list[str]:
    """The texts of index items, with the arrays put in."""
    rest = iter(arrays)
    return [next(rest).text if item is None else item for item in items]


def _readings(last: Equation, items: list[Item]) -> Iterator[Callable[..., Expression]]:
    """Functions that read at an index; they differ in what is out of bounds."""
    keywords = {
        name: "True"
        for name in ("indices_are_sorted", "unique_indices")
        if last.parameters.get(name)
    }
    if not keywords:
        yield lambda table, *arrays: subscript(table, *filled(items, arrays))
    mode = _MODES.get(last.parameters["mode"])
    if mode is None:
        return
    is_row = [item for item in items if item != ":"] == [None]
    axis = {"axis": str(len(items) - 1)}
    if is_row:
        taken = axis if mode == "fill" else {**axis, "mode": f'"{mode}"'}
        yield lambda t, i: call("jnp.take", t, i, **taken, **keywords)

    def read(table: Expression, *arrays: Expression) -> Expression:
        place = subscript(attribute(table, "at"), *filled(items, arrays))
        options = {"mode": f'"{mode}"', **keywords}
        return method(
            place, "get", *(atom(f"{name}={text}") for name, text in options.items())
        )

    yield read


def over_examples(
    write: Callable[..., Expression], lead: int
) -> Callable[..., Expression]:
    """The function mapped over so many leading axes of everything it reads."""
    if not lead:
        return write

    def mapped(*operands: Expression) -> Expression:
        several = len(operands) > 2
        names = ["rows"]
        names += [f"index{n}" if several else "index" for n in range(1, len(operands))]
        inner = write(*map(atom, names)).text
        function = f"lambda {', '.join(names)}: {inner}"
        for _ in range(lead):
            function = f"jax.vmap({function})"
        return call(function, *operands)

    return mapped


def _along_axis(last: Equation, producers: Producers) -> Iterator[Proposal]:
    """`jnp.take_along_axis`, which takes one index for every element."""
    table, indices = last.inputs
    axes = last.parameters["dimension_numbers"].start_index_map
    mode = _MODES.get(last.parameters["mode"])
    if len(axes) != 1 or mode is None:
        return
    keywords = {"axis": str(int(axes[0]))}
    if mode != "fill":
        keywords["mode"] = f'"{mode}"'
    for item in unwrapped(indices, producers):
        if isinstance(item, Var) and len(aval_of(item).shape) == len(
            aval_of(table).shape
        ):
            yield Proposal(
                operands=(table, item),
                write=lambda t, i: call("jnp.take_along_axis", t, i, **keywords),
            )


PROPOSERS: dict[Primitive, tuple[Proposer, ...]] = {primitives.gather_p: (lookups,)}
