"""Maps of axes against numpy: the operations applied to the numbers of the entries."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ntkplan.rules import axes, cuts, regions
from ntkplan.rules.axes import Absent, AxisMap
from tests.rules.dense import leaf_index
from tests.rules.traced import Traced
from tests.rules.traced import numbers as normal

NOTHING = -1
STEP = Traced(lambda leaf: leaf * 1.0, normal(1)).step(0, 0)


def entries(axis_map: AxisMap, leaf_shape: tuple[int, ...]) -> np.ndarray:
    """Returns the number of the leaf's entry at every place, -1 where there is none."""
    atoms = [atom for axis in axis_map.axes for atom in axis.atoms]
    assert len(set(atoms)) == len(atoms)
    found = np.full(axis_map.shape, NOTHING)
    sizes = tuple(atom.size for atom in atoms)
    counted = np.indices(sizes).reshape(len(sizes), math.prod(sizes))
    digits = dict(zip(atoms, counted, strict=True))
    place = []
    for axis in axis_map.axes:
        index = np.zeros(math.prod(sizes), int)
        for atom in axis.atoms:
            index = index * atom.size + digits[atom]
        if axis.placement is not None:
            index = axis.placement.low + axis.placement.step * index
        place.append(index)
    numbers = np.arange(math.prod(leaf_shape)).reshape(leaf_shape)
    found[tuple(place)] = numbers[leaf_index(axis_map, digits)]
    return found


def slices(draw, shape):
    starts, limits, steps = [], [], []
    for size in shape:
        if draw(st.booleans()):
            chosen = (0, size, 1)
        else:
            start = draw(st.integers(0, size - 1))
            chosen = (
                start,
                draw(st.integers(start + 1, size)),
                draw(st.integers(1, 3)),
            )
        for many, number in zip((starts, limits, steps), chosen, strict=True):
            many.append(number)
    return tuple(starts), tuple(limits), tuple(steps)


def regrouped(draw, shape):
    """Draws another shape with as many entries: axes split and merged."""
    factors = []
    for size in shape:
        left = size
        while left > 1:
            divisors = [d for d in range(2, left + 1) if left % d == 0]
            factors.append(draw(st.sampled_from(divisors)))
            left //= factors[-1]
    result = []
    for factor in factors:
        if result and draw(st.integers(0, 2)) == 0:
            result[-1] *= factor
        else:
            result.append(factor)
    for _ in range(draw(st.integers(0, 2))):
        result.insert(draw(st.integers(0, len(result))), 1)
    return tuple(result)


def moved(draw, axis_map, numbers):
    """Draws one operation; returns what becomes of the map, and of the numbers."""
    kind = draw(st.sampled_from(("transpose", "reshape", "slice", "reverse", "place")))
    shape = numbers.shape
    if kind == "transpose":
        order = draw(st.permutations(range(len(shape))))
        return (
            axes.with_axes(axis_map, (axis_map.axes[at] for at in order)),
            numbers.transpose(order),
        )
    if kind == "reshape":
        wanted = regrouped(draw, shape)
        return axes.reshaped(axis_map, wanted), numbers.reshape(wanted)
    if kind == "slice":
        starts, limits, steps = slices(draw, shape)
        index = tuple(slice(*item) for item in zip(starts, limits, steps, strict=True))
        return cuts.sliced(STEP, axis_map, starts, limits, steps), numbers[index]
    if not shape:
        return axis_map, numbers
    number = draw(st.integers(0, len(shape) - 1))
    if kind == "reverse":
        return cuts.turned(STEP, axis_map, (number,)), np.flip(numbers, number)
    low, step = draw(st.integers(0, 2)), draw(st.integers(1, 2))
    size = low + (shape[number] - 1) * step + 1 + draw(st.integers(0, 2))
    wider = np.full((*shape[:number], size, *shape[number + 1 :]), NOTHING)
    index = (*(slice(None),) * number, slice(low, low + step * shape[number], step))
    wider[index] = numbers
    return axes.placed(axis_map, number, low=low, step=step, size=size), wider


SHAPES = st.lists(st.sampled_from((1, 2, 3, 5, 4, 6, 12)), min_size=0, max_size=3).map(
    tuple
)


@given(data=st.data(), shape=SHAPES, n_steps=st.integers(1, 5))
@settings(max_examples=400, deadline=None)
def test_operations_in_a_row(data, shape, n_steps):
    """Wherever a map can be carried, it says the same as numpy."""
    axis_map = axes.identity(shape)
    numbers = np.arange(math.prod(shape)).reshape(shape)
    for _ in range(n_steps):
        after, numbers = moved(data.draw, axis_map, numbers)
        if after is None:
            return
        if isinstance(after, Absent):
            assert np.all(numbers == NOTHING)
            return
        axis_map = after
        np.testing.assert_array_equal(entries(axis_map, shape), numbers)


@given(data=st.data(), shape=SHAPES)
@settings(max_examples=200, deadline=None)
def test_any_split_and_merge_of_a_leaf_is_carried(data, shape):
    """A split is carried and then undone; atoms are the same as before in number."""
    numbers = np.arange(math.prod(shape)).reshape(shape)
    primes = tuple(p for size in shape for p in _primes(size))
    split = axes.reshaped(axes.identity(shape), primes)
    assert split is not None
    order = data.draw(st.permutations(range(len(primes))))
    turned = axes.with_axes(split, (split.axes[at] for at in order))
    wanted = numbers.reshape(primes).transpose(order)
    merged_shape = regrouped(data.draw, wanted.shape)
    merged = axes.reshaped(turned, merged_shape)
    assert merged is not None
    np.testing.assert_array_equal(entries(merged, shape), wanted.reshape(merged_shape))


def _primes(size: int) -> list[int]:
    for divisor in range(2, size + 1):
        if size % divisor == 0:
            return [divisor, *_primes(size // divisor)]
    return []


@given(data=st.data(), shape=SHAPES.filter(bool))
@settings(max_examples=200, deadline=None)
def test_slices_and_turns_of_a_leaf_are_carried(data, shape):
    numbers = np.arange(math.prod(shape)).reshape(shape)
    starts, limits, steps = slices(data.draw, shape)
    axis_map = cuts.sliced(STEP, axes.identity(shape), starts, limits, steps)
    assert isinstance(axis_map, AxisMap)
    index = tuple(slice(*item) for item in zip(starts, limits, steps, strict=True))
    turned = cuts.turned(STEP, axis_map, range(len(shape)))
    assert turned is not None
    wanted = np.flip(numbers[index])
    np.testing.assert_array_equal(entries(turned, shape), wanted)


@given(data=st.data(), shape=SHAPES)
@settings(max_examples=300, deadline=None)
def test_regions(data, shape):
    """Regions said to be disjoint are, and equal ones have the same entries."""
    numbers = np.arange(math.prod(shape)).reshape(shape)
    found = []
    for _ in range(2):
        axis_map = axes.identity(shape)
        taken = numbers
        for _ in range(data.draw(st.integers(0, 3))):
            after, changed = moved(data.draw, axis_map, taken)
            if not isinstance(after, AxisMap):
                break
            axis_map, taken = after, changed
        found.append((regions.region(axis_map), set(taken.ravel()) - {NOTHING}))
    (first, entries_first), (second, entries_second) = found
    if regions.disjoint(first, second):
        assert not entries_first & entries_second
    if first == second:
        assert entries_first == entries_second


@given(data=st.data(), size=st.sampled_from((12, 30, 36, 7, 1)))
@settings(max_examples=200, deadline=None)
def test_common_refinement(data, size):
    first, second = (
        tuple(f for f in regrouped(data.draw, (size,)) if f > 1) for _ in range(2)
    )
    refined = axes.common_refinement(first, second)
    if refined is None:
        assert not (_edges(first) <= _edges(second) or _edges(second) <= _edges(first))
        return
    assert math.prod(refined) == size
    assert _edges(first) | _edges(second) == _edges(refined)


def _edges(sizes):
    """Returns the strides at which a factorisation cuts a length."""
    return {math.prod(sizes[at:]) for at in range(len(sizes) + 1)}


def test_what_cannot_be_carried():
    assert axes.reshaped(axes.identity((4, 3)), (3, 4)) is None
    split = axes.reshaped(axes.identity((2, 6)), (12,))
    assert split is not None
    assert cuts.sliced(STEP, split, (1,), (8,), (1,)) is None
    assert cuts.sliced(STEP, split, (0,), (12,), (5,)) is None
    placed = axes.placed(axes.identity((3,)), 0, low=1, step=1, size=5)
    assert placed is not None
    assert cuts.sliced(STEP, placed, (0,), (2,), (1,)) is None
    assert isinstance(cuts.sliced(STEP, placed, (4,), (5,), (1,)), Absent)
    assert cuts.turned(STEP, placed, (0,)) is None
    assert axes.placed(axes.identity((3,)), 0, low=-1, step=1, size=5) is None
    assert axes.placed(axes.identity((3,)), 0, low=1, step=2, size=5) is None


@pytest.mark.parametrize(("start", "limit", "step"), [(6, 12, 1), (0, 6, 2), (7, 8, 1)])
def test_slices_of_two_merged_axes(start, limit, step):
    """Whole rows, steps inside of a row, and single entries are carried."""
    merged = axes.reshaped(axes.identity((2, 6)), (12,))
    assert merged is not None
    axis_map = cuts.sliced(STEP, merged, (start,), (limit,), (step,))
    assert isinstance(axis_map, AxisMap)
    wanted = np.arange(12)[start:limit:step]
    np.testing.assert_array_equal(entries(axis_map, (2, 6)), wanted)
