"""What is alive in memory while a kernel is computed all at once.

A compiler runs what is ready. Windows and Grams of activations are ready after the
forward pass and wait for their leaf's cotangents; a leaf's part of the kernel waits for
the others', since all are added in one pass. Cotangents wait for their leaf, the last
layer's first; those that come out of a CPU's convolutions, one after another, only
until the sweep has gone on from them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import cast

from ntkplan._jax import Var
from ntkplan.cost import symbols
from ntkplan.cost.symbols import Size, product, total
from ntkplan.ir.statements import Contract, Statement, Sum
from ntkplan.ir.use import Layer
from ntkplan.methods import network
from ntkplan.methods.candidate import Candidate
from ntkplan.methods.sharing import Key
from ntkplan.planner.candidates import Priced
from ntkplan.planner.held import Counts, held_sizes, pushed_size, resident_bytes
from ntkplan.planner.moved import entries, recorded_variables
from ntkplan.planner.problem import Problem

_OF_FORWARD = ("activations:", "windows:", "factors:")

# What is in work whichever schedule it is: the windows of one leaf; its cotangents,
# what the sweep makes of them, and a copy.
_WINDOWS_IN_WORK = 1
_COTANGENTS_IN_WORK = 3


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Turn:
    """What one leaf's own part needs and leaves behind.

    Attributes:
        layer: The leaf, with the taps that its candidate reads.
        candidate: How it is computed.
        own: Most bytes alive at once in its own part, what is given left out.
    """

    layer: Layer
    candidate: Candidate
    own: Size


def turns_of(
    layers: Sequence[Layer], chosen: Sequence[Priced], own: Sequence[Size]
) -> tuple[list[Turn], list[Layer]]:
    """Returns the turns of the leaves that are tapped, and those that are pushed.

    Args:
        layers: All leaves.
        chosen: One candidate for each.
        own: Bytes that each needs in its own part, in numbers or in symbols.
    """
    turns: list[Turn] = []
    pushed: list[Layer] = []
    for layer, item, size in zip(layers, chosen, own, strict=True):
        if item.pushed:
            pushed.append(layer)
            continue
        tapped = item.candidate.layer_of(layer)
        turns.append(Turn(layer=tapped, candidate=item.candidate, own=size))
    return turns, pushed


def most_alive(
    problem: Problem, turns: Sequence[Turn], pushed: Sequence[Layer], counts: Counts
) -> tuple[Size, ...]:
    """Returns the bytes alive at every point where they may be most.

    These are the end of the sweep and the push, each leaf's turn, and the sum of all
    parts.

    Args:
        problem: The kernel, all of it at once.
        turns: The tapped leaves.
        pushed: The others.
        counts: The kernel's sizes, in numbers or in symbols.
    """
    ordered = sorted(turns, key=lambda turn: -turn.layer.stacks[0].first.equation)
    held = held_sizes(problem, [turn.layer for turn in ordered], counts)
    sides = _sides(problem, ordered, counts)
    base = total(held.fixed_bytes, held.kernel_bytes)
    first = product(counts.points, held.side_bytes)
    swept = product(counts.points, held.sweep_bytes)
    points = [] if problem.convolves_on_cpu else [total(base, first, swept)]
    if pushed:
        found = pushed_size(problem, pushed, counts)
        points.append(total(base, held.kernel_bytes, first, found))
    early, parts = _arrays(problem, ordered, counts)
    for number, turn in enumerate(ordered):
        beside = _joined([*early[number + 1 :], *parts[:number]])
        for key in (*early[number], *parts[number]):
            beside.pop(key, None)
        points.append(total(base, sides[number], turn.own, *beside.values()))
    return (*points, total(base, *_joined(parts).values()))


def runs_what_is_ready(problem: Problem, chosen: Sequence[Priced]) -> bool:
    """Says whether a kernel is to be compiled so that whatever is ready is run.

    Convolutions leave nothing to others on a CPU, so that it is no gain in itself. It
    holds the windows of all leaves. A compiler that is asked to hold little holds the
    cotangents of all leaves instead: sums over positions, which biases and scales are
    made of, it leaves to the end. What is in work, it holds either way.

    Elsewhere on a CPU it is a gain, unless most of what is alive are the terms of one
    leaf's Jacobian, of several uses: all are ready at once, and wait for each other.

    Args:
        problem: The kernel, all of it at once.
        chosen: One candidate for each leaf.
    """
    if not problem.computes_in_turn:
        largest = max(chosen, key=lambda item: item.peak_bytes)
        others = resident_bytes(problem, problem.study.layers)
        return not (_sums_jacobians(largest) and largest.peak_bytes > others)
    if not problem.convolves_on_cpu:
        return False
    turns, _ = turns_of(problem.study.layers, chosen, [0] * len(chosen))
    counts = Counts.of(problem, symbolic=False)
    early, _ = _arrays(problem, turns, counts)
    windows = sorted(cast("Iterable[float]", _joined(early).values()))
    moved = problem.study.moved([turn.layer for turn in turns])
    taps = {moved.base_of[tap] for turn in turns for tap in turn.layer.taps}
    columns = problem.study.itemsize * problem.n_points * problem.n_basis
    cotangents = sorted(columns * entries(tap) for tap in taps)
    return sum(windows[:-_WINDOWS_IN_WORK]) < sum(cotangents[:-_COTANGENTS_IN_WORK])


def _sums_jacobians(item: Priced) -> bool:
    statements = item.candidate.statements
    made = {
        each.target.name
        for each in statements
        if isinstance(each, Contract) and each.is_jacobian
    }
    return any(
        isinstance(each, Sum) and made.issuperset(term.name for term in each.terms)
        for each in statements
    )


def _sides(problem: Problem, turns: Sequence[Turn], counts: Counts) -> list[Size]:
    """Returns what is held of both sides for each leaf's turn and those after it."""
    itemsize = problem.study.itemsize
    moved = problem.study.moved([turn.layer for turn in turns])
    bases, waiting_of = moved.base_of, moved.waiting_of
    seen: set[Var] = set()
    recorded = taps = 0
    found: list[Size] = []
    for turn in reversed(turns):
        new = {*recorded_variables([turn.layer])} - seen
        recorded += sum(map(entries, new))
        seen |= new
        held = {bases[tap] for tap in turn.layer.taps} - seen
        before = 0 if problem.convolves_on_cpu else taps
        taps = before + sum(map(entries, held))
        seen |= held
        columns = itemsize * taps + max(waiting_of[tap] for tap in turn.layer.taps)
        each = total(itemsize * recorded, product(columns, counts.basis))
        found.append(product(counts.points, each))
    return found[::-1]


def _arrays(
    problem: Problem, turns: Sequence[Turn], counts: Counts
) -> tuple[list[dict[Key, Size]], list[dict[Key, Size]]]:
    """Returns for every leaf the arrays that are made early, and those that wait."""
    if problem.profile.fuses_products:
        return [{} for _ in turns], [{} for _ in turns]
    early: list[dict[Key, Size]] = []
    parts: list[dict[Key, Size]] = []
    for turn in turns:
        sizes = lengths(problem, turn.layer, counts)
        keyed = list(turn.candidate.keyed(symmetric=problem.symmetric))

        def nbytes(
            statements: Iterable[tuple[Key, Statement]],
            times: int = 1,
            sizes: Mapping[str, Size] = sizes,
        ) -> dict[Key, Size]:
            return {
                key: product(
                    problem.study.itemsize,
                    times,
                    *(sizes[label] for label in statement.target.stored),
                )
                for key, statement in statements
            }

        early.append(nbytes(_early(keyed)))
        parts.append(nbytes(_last(keyed, turn.candidate), turn.candidate.loop))
    return early, parts


def _early(keyed: Sequence[tuple[Key, Statement]]) -> Iterator[tuple[Key, Statement]]:
    """Yields what depends on activations alone and is read with cotangents."""
    ready = {
        statement.target.name: _is_ready(keyed, statement) for _, statement in keyed
    }
    read = {
        array.name
        for _, statement in keyed
        if not ready[statement.target.name]
        for array in statement.sources
    }
    for key, statement in keyed:
        if ready[statement.target.name] and statement.target.name in read:
            yield key, statement


def _is_ready(keyed: Sequence[tuple[Key, Statement]], statement: Statement) -> bool:
    """Says whether a statement can be computed without cotangents."""
    made = {each.target.name: each for _, each in keyed}
    return all(
        _is_ready(keyed, made[array.name])
        if array.name in made
        else array.name.startswith(_OF_FORWARD)
        for array in statement.sources
    )


def _last(
    keyed: Sequence[tuple[Key, Statement]], candidate: Candidate
) -> Iterator[tuple[Key, Statement]]:
    """Yields what makes the arrays that the sum of all parts reads.

    A product entry by entry is computed in that sum, and its operands wait for it.
    """
    made = {statement.target.name: (key, statement) for key, statement in keyed}
    for result, _ in candidate.results:
        if result.name not in made:
            continue
        key, statement = made[result.name]
        if isinstance(statement, Contract) and not statement.summed:
            for array in statement.sources:
                if array.name in made:
                    yield made[array.name]
        else:
            yield key, statement


def lengths(problem: Problem, layer: Layer, counts: Counts) -> dict[str, Size]:
    """Returns the length of every label of a leaf, in numbers or in symbols.

    Args:
        problem: The kernel.
        layer: The leaf, with the taps that its candidate reads.
        counts: The kernel's sizes, in numbers or in symbols.
    """
    values: dict[Size, Size] = {
        symbols.n1: counts.n1,
        symbols.n2: counts.n2,
        symbols.n_outputs: counts.basis,
    }
    sizes = network.label_sizes(layer, problem.study.frame)
    return {label: values.get(size, size) for label, size in sizes.items()}


def _joined(arrays: Iterable[Mapping[Key, Size]]) -> dict[Key, Size]:
    """Returns all arrays, those of several leaves once."""
    return {key: size for each in arrays for key, size in each.items()}
