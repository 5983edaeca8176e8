"""The best candidates of every distinct layer, timed against each other."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy

from ntkplan._jax import array_dtype
from ntkplan.emit.load import load
from ntkplan.emit.lower import kernel_dtype, sums_dtype
from ntkplan.emit.one_leaf import FUNCTION, leaf_text
from ntkplan.ir.use import Layer, Stack
from ntkplan.methods.network import DIAGONAL, FULL, TRACE, input_name
from ntkplan.planner.all_candidates import given_names, stacks_of
from ntkplan.planner.candidates import Priced
from ntkplan.planner.division import Decision
from ntkplan.planner.problem import Problem
from ntkplan.tuning.arrays import index_array, normal_array
from ntkplan.tuning.session import Session
from ntkplan.tuning.timer import Budget, Measured

# The two best candidates are timed, and a third that is nearly as good.
_MOST_RIVALS = 3
_NEARLY = 2.0

# Layers that take less of the whole are left as they are estimated.
_LEAST_SHARE = 0.01

# One call may take this part of what is left of the budget; a race makes several.
_LONGEST_CALL = 0.1
_RACE_S = 1.0

# What is left of a timing at least, when the overhead of a call is taken off.
_LEAST_LEFT = 0.1


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Rival:
    """A candidate as a program of its own.

    Attributes:
        item: The candidate.
        text: The program.
        taken: Names of the arrays that it takes.
        key: Equal for programs that are the same.
    """

    item: Priced
    text: str
    taken: tuple[str, ...]
    key: str


def correct_by_timing(
    session: Session,
    problem: Problem,
    priced: Sequence[tuple[Priced, ...]],
    decision: Decision,
    budget: Budget,
) -> list[tuple[Priced, ...]]:
    """Times the best candidates of each distinct layer and corrects their prices.

    Layers with the most at stake come first. Candidates of a measured layer that were
    not timed are corrected by the geometric mean of the others, so that they keep
    their distance.

    Args:
        session: Where timings are kept.
        problem: What the candidates are priced for.
        priced: The candidates of every layer, cheapest first.
        decision: What the prices lead to; its cost is that of the whole kernel, all
            tiles of it.
        budget: Seconds to spend.

    Returns:
        The candidates with corrected prices, cheapest first.
    """
    layers = problem.study.layers
    groups: dict[tuple[str, ...], list[int]] = {}
    rivals: dict[int, list[_Rival]] = {}
    for number, layer in enumerate(layers):
        if layer is problem.study.cut:
            # Its part needs the kernel of the values at the cut, and has one order.
            continue
        best = _best(session, problem, priced[number], decision, number)
        if len(best) < 2:
            continue
        rivals[number] = _programs(session, problem, layer, best)
        keys = tuple(dict.fromkeys(rival.key for rival in rivals[number]))
        if len(keys) > 1:
            groups.setdefault(keys, []).append(number)

    def stake(numbers: Sequence[int]) -> float:
        once = sum(rivals[number][0].item.seconds for number in numbers)
        return decision.n_tiles * once

    result = list(priced)
    worth = _LEAST_SHARE * decision.cost.seconds
    for keys, numbers in sorted(groups.items(), key=lambda item: -stake(item[1])):
        if stake(numbers) < worth:
            break
        first = numbers[0]
        found = session.known(keys)
        if found is None:
            found = _timed(session, problem, layers[first], rivals[first], budget)
            what = [_words(layers[first], rival) for rival in _distinct(rivals[first])]
            session.keep(keys, found, what)
        measured = dict(zip(keys, found, strict=True))
        for number in numbers:
            result[number] = _corrected(priced[number], rivals[number], measured)
    return result


def _best(
    session: Session,
    problem: Problem,
    items: Sequence[Priced],
    decision: Decision,
    number: int,
) -> list[Priced]:
    """Returns the candidates of a layer that are worth timing, cheapest first."""
    room = session.free_bytes - decision.shared.resident_bytes
    fits = [
        item
        for item in items
        if item.allowed and not item.pushed and item.peak_bytes <= room
    ]
    best = fits[:2]
    best += [
        item
        for item in fits[2:_MOST_RIVALS]
        if item.seconds < _NEARLY * best[0].seconds
    ]
    chosen = decision.chosen[number]
    if chosen in fits and chosen not in best:
        best.append(chosen)
    return best


def _programs(
    session: Session, problem: Problem, layer: Layer, items: Sequence[Priced]
) -> list[_Rival]:
    """Prints candidates as programs."""
    names = given_names(layer)
    given = _given(problem, layer)
    found = []
    for item in items:
        text, taken = leaf_text(
            item.candidate,
            names,
            problem.study.frame.kernel_labels,
            symmetric=problem.symmetric,
            precision=problem.precision,
            dtype=kernel_dtype(problem.study.graph),
            sums_dtype=sums_dtype(problem.study.graph),
        )
        specs = [given[name].fields for name in taken]
        key = session.key("leaf", text, specs)
        found.append(_Rival(item=item, text=text, taken=taken, key=key))
    return found


def _distinct(rivals: Sequence[_Rival]) -> list[_Rival]:
    """Returns one of each program; orders may come to the same."""
    return list({rival.key: rival for rival in reversed(rivals)}.values())[::-1]


def _timed(
    session: Session,
    problem: Problem,
    layer: Layer,
    rivals: Sequence[_Rival],
    budget: Budget,
) -> list[Measured | None]:
    """Times each distinct program once, or none where the budget does not allow it."""
    distinct = _distinct(rivals)
    nothing: list[Measured | None] = [None] * len(distinct)
    longest_s = max(rival.item.seconds for rival in distinct)
    if longest_s > _LONGEST_CALL * budget.left_s:
        return nothing
    if session.compile_estimate_s(leaves=len(distinct)) > budget.left_s:
        return nothing
    given = _given(problem, layer)
    taken = dict.fromkeys(name for rival in distinct for name in rival.taken)
    if sum(given[name].n_bytes for name in taken) > session.free_bytes:
        return nothing
    arrays = {name: given[name].array() for name in taken}
    calls = session.compiled_leaves(
        [load(rival.text, constants={}, references={})[FUNCTION] for rival in distinct],
        [[arrays[name] for name in rival.taken] for rival in distinct],
    )
    ready = [call for call in calls if call is not None]
    if len(ready) < len(calls):
        return nothing
    found = session.race(ready, min(_RACE_S, budget.left_s))
    overhead_s = session.overhead_s([arrays[name] for name in distinct[0].taken])
    least_s = [
        max(each.least_s - overhead_s, _LEAST_LEFT * each.least_s) for each in found
    ]
    return [
        dataclasses.replace(each, seconds=seconds, least_s=seconds)
        for each, seconds in zip(found, least_s, strict=True)
    ]


def _corrected(
    items: Sequence[Priced],
    rivals: Sequence[_Rival],
    measured: Mapping[str, Measured | None],
) -> tuple[Priced, ...]:
    """Puts measured times in the place of estimates."""
    factors: dict[int, float] = {}
    for rival in rivals:
        found = measured[rival.key]
        if found is not None:
            factors[id(rival.item)] = found.seconds / rival.item.seconds
    if not factors:
        return tuple(items)
    logarithms = [math.log(factor) for factor in factors.values()]
    usual = math.exp(sum(logarithms) / len(logarithms))
    corrected = [
        item.corrected(factors[id(item)], measured_s=item.seconds * factors[id(item)])
        if id(item) in factors
        else item.corrected(usual)
        for item in items
    ]
    return tuple(sorted(corrected, key=lambda item: item.seconds))


def _words(layer: Layer, rival: _Rival) -> str:
    candidate = rival.item.candidate
    return f"{layer.leaf.path} {list(layer.leaf.shape)}: {candidate.order}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Given:
    """An array that a block is given.

    Attributes:
        shape: Its shape.
        dtype: Its dtype.
        n_rows: If it holds indices, how many there are to choose from.
    """

    shape: tuple[int, ...]
    dtype: str
    n_rows: int | None = None

    @property
    def fields(self) -> tuple[object, ...]:
        """The same as JSON can hold it."""
        return (list(self.shape), self.dtype, self.n_rows)

    @property
    def n_bytes(self) -> int:
        """Its size in memory."""
        return math.prod(self.shape) * numpy.dtype(self.dtype).itemsize

    def array(self) -> jax.Array:
        """Makes one."""
        if self.n_rows is not None:
            return index_array(self.shape, self.dtype, self.n_rows)
        if jnp.issubdtype(self.dtype, jnp.floating):
            return normal_array(self.shape, self.dtype)
        return jnp.ones(self.shape, self.dtype)


def _given(problem: Problem, layer: Layer) -> dict[str, _Given]:
    """Returns every array that the candidates of a layer may be given."""
    found: dict[str, _Given] = {}
    for stack in stacks_of(layer):
        for side, count in enumerate((problem.n1, problem.n2)):
            example = (1 if problem.spec.whole_batch else count,)
            found |= _given_by_stack(problem, stack, side, example)
    return found


def _given_by_stack(
    problem: Problem, stack: Stack, side: int, example: tuple[int]
) -> dict[str, _Given]:
    use = stack.first
    many = (len(stack.uses),) if len(stack.uses) > 1 else ()
    frame = problem.study.frame
    basis = tuple(_basis_size(problem, label) for label in frame.basis(side))
    found = {
        input_name("cotangents", stack.cotangents_id, side): _Given(
            shape=(*example, *basis, *many, *stack.value_shape),
            dtype=str(array_dtype(use.tap)),
        )
    }
    if use.recorded is not None:
        kind = "factors" if use.shared else "activations"
        lead = () if use.shared else example
        found[input_name(kind, stack.activations_id, side)] = _Given(
            shape=(*lead, *many, *stack.recorded_shape),
            dtype=str(array_dtype(use.recorded)),
            n_rows=None if use.hot is None else use.sizes[use.hot],
        )
    for number, factor in enumerate(use.factors):
        kind = "factors" if factor.shared else "activations"
        lead = () if factor.shared else example
        each = many if len(stack.factor_variables(number)) > 1 else ()
        found[input_name(kind, stack.factor_ids[number], side)] = _Given(
            shape=(*lead, *each, *(use.sizes[label] for label in factor.labels)),
            dtype=str(array_dtype(factor.variable)),
            n_rows=None if factor.hot is None else use.sizes[factor.hot],
        )
    return found


def _basis_size(problem: Problem, label: str) -> int:
    spec = problem.spec
    sizes = {DIAGONAL: spec.n_diagonal, TRACE: spec.n_trace}
    sizes |= dict.fromkeys(FULL, spec.n_full)
    # Outputs are only taken some at a time where there is one group of them.
    return min(sizes[label], problem.n_basis)
