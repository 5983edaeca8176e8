"""Scatters as `.at[...].set(...)` and its likes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from jax import lax

from ntkplan._jax import Literal, Primitive, Var, primitives
from ntkplan.emit.expression import Expression, atom, attribute, method, subscript
from ntkplan.emit.primitives.idioms.lookups import (
    Item,
    filled,
    index_items,
    over_examples,
)
from ntkplan.emit.primitives.idioms.matching import Producers, Proposal, Proposer
from ntkplan.emit.primitives.value import aval_of, number_value
from ntkplan.ir.equation import Atom, Equation

_MODES = {
    lax.GatherScatterMode.CLIP: "clip",
    lax.GatherScatterMode.FILL_OR_DROP: "drop",
    lax.GatherScatterMode.PROMISE_IN_BOUNDS: "promise_in_bounds",
}


def _updates(name: str) -> Proposer:
    def propose(last: Equation, producers: Producers) -> Iterator[Proposal]:
        numbers = last.parameters["dimension_numbers"]
        lead = len(numbers.operand_batching_dims)
        if tuple(map(int, numbers.operand_batching_dims)) != tuple(range(lead)):
            return
        for items, arrays in _places(last, lead, producers):
            for value in _values(last.inputs[2], producers):
                for keywords in _keywords(last):
                    yield _update(name, last, items, arrays, value, keywords, lead)

    return propose


def _update(
    name: str,
    last: Equation,
    items: list[Item],
    arrays: list[Atom],
    value: Atom,
    keywords: dict[str, str],
    lead: int,
) -> Proposal:
    """`x.at[items].name(value, **keywords)`."""
    options = [atom(f"{key}={text}") for key, text in keywords.items()]
    number: Expression | None = None
    if isinstance(value, Literal):
        number = number_value(value.val, aval_of(value).dtype, ()).expression

    def write(x: Expression, *rest: Expression) -> Expression:
        changed = rest[-1] if number is None else number
        place = subscript(attribute(x, "at"), *filled(items, rest))
        return method(place, name, changed, *options)

    operands = (last.inputs[0], *arrays, *([value] if number is None else []))
    return Proposal(operands=operands, write=over_examples(write, lead))


def _places(
    last: Equation, lead: int, producers: Producers
) -> Iterator[tuple[list[Item], list[Atom]]]:
    """Index items: of single entries, or a slice from a number on."""
    target, indices, update = last.inputs
    numbers = last.parameters["dimension_numbers"]
    indexed = [int(axis) - lead for axis in numbers.scatter_dims_to_operand_dims]
    inserted = {int(axis) - lead for axis in numbers.inserted_window_dims}
    if not indexed:
        return
    rank = len(aval_of(target).shape) - lead
    window = [axis for axis in range(rank) if axis not in inserted]
    sizes = dict(
        zip(
            window,
            (aval_of(update).shape[int(axis)] for axis in numbers.update_window_dims),
            strict=True,
        )
    )
    for items, arrays in index_items(indices, indexed, producers):
        texts = list(items)
        for axis in indexed:
            if axis in inserted:
                continue
            start = items[axis]
            if start is None:
                break
            stop = int(start) + sizes[axis]
            end = aval_of(target).shape[axis + lead]
            first = "" if start == "0" else start
            texts[axis] = f"{first}:{'' if stop == end else stop}"
        else:
            yield texts, arrays


def _values(update: Atom, producers: Producers) -> Iterator[Atom]:
    """What was written, from before it was spread over the places on."""
    bare = producers.behind(
        update, primitives.broadcast_in_dim_p, primitives.convert_element_type_p
    )
    if isinstance(bare, Literal) or bare is not update:
        yield bare
    if isinstance(update, Var):
        yield update


def _keywords(last: Equation) -> Iterator[dict[str, str]]:
    """Options, from the fewest on."""
    flags = [
        name
        for name in ("indices_are_sorted", "unique_indices")
        if last.parameters.get(name)
    ]
    mode = _MODES.get(last.parameters["mode"])
    for count, with_mode in itertools.product(range(len(flags) + 1), (False, True)):
        for chosen in itertools.combinations(flags, count):
            keywords = dict.fromkeys(chosen, "True")
            if with_mode and mode is not None:
                yield {"mode": f'"{mode}"', **keywords}
            elif not with_mode:
                yield keywords


PROPOSERS: dict[Primitive, tuple[Proposer, ...]] = {
    primitives.scatter_p: (_updates("set"),),
    primitives.scatter_add_p: (_updates("add"),),
    primitives.scatter_mul_p: (_updates("multiply"),),
    primitives.scatter_min_p: (_updates("min"),),
    primitives.scatter_max_p: (_updates("max"),),
    lax.scatter_sub_p: (_updates("subtract"),),
}
