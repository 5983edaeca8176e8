"""Look-ups at indices that are data: modes, batching, several indices, bounds."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from ntkplan._jax import primitives
from tests.rules.checks import check_labels, labels
from tests.rules.traced import numbers

GATHER = primitives.gather_p
MODES = ("fill", "clip", "promise_in_bounds")


def integers(*shape, below=7, above=0):
    return np.random.default_rng(len(shape)).integers(above, below, shape, np.int32)


INSIDE = {
    "rows": (lambda w, i: w[i], (7, 3), integers(5)),
    "rows_of_rows": (lambda w, i: w[i], (7, 3), integers(2, 5)),
    "one_row": (lambda w, i: w[i], (7, 3), integers(1)),
    "of_a_vector": (lambda w, i: w[i], (7,), integers(5)),
    "rows_of_axes": (lambda w, i: w[i], (7, 3, 2), integers(5)),
    "second_axis": (lambda w, i: w[:, i], (3, 7), integers(5)),
    "middle_axis": (lambda w, i: w[:, i], (3, 7, 2), integers(2, 5)),
    "last_axis": (lambda w, i: jnp.take(w, i, axis=-1), (3, 1, 7), integers(5)),
    "axis_of_length_one": (lambda w, i: jnp.take(w, i, axis=1), (7, 1), integers(5)),
    "per_batch": (
        lambda w, i: jnp.take_along_axis(w, i, axis=1),
        (3, 7),
        integers(3, 5),
    ),
    "vmapped": (jax.vmap(lambda w, i: w[i]), (4, 7, 3), integers(4, 5)),
    "vmapped_last": (
        jax.vmap(lambda w, i: w[i], in_axes=(2, 0)),
        (7, 3, 4),
        integers(4, 5),
    ),
}


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        *((name, None) for name in INSIDE),
        *itertools.product(("rows", "second_axis", "vmapped"), MODES),
    ],
)
def test_gather(name, mode):
    function, shape, indices = INSIDE[name]
    if mode is not None:
        mode_of = {
            "rows": lambda w, i: w.at[i].get(mode=mode),
            "second_axis": lambda w, i: w.at[:, i].get(mode=mode),
            "vmapped": jax.vmap(lambda w, i: w.at[i].get(mode=mode)),
        }
        function = mode_of[name]
    if shape[1:] == (1,):
        indices = indices * 0
    found = check_labels(GATHER, 0, function, numbers(*shape), indices)
    assert found.hot == (None if shape[1:] == (1,) else "rows")


@pytest.mark.parametrize("mode", ["fill", "clip"])
@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (lambda at, i: at[i], (7, 3)),
        (lambda at, i: at[:, i], (3, 7)),
        (lambda at, i: at[:, i, :], (2, 7, 3)),
    ],
)
def test_out_of_bounds(function, shape, mode):
    """An index below, at or beyond an end is no entry, or the one at the end."""
    indices = np.asarray([0, 6, 7, 8, -1, -7, -8, 100, -100, 3], np.int32)
    check_labels(
        GATHER,
        0,
        lambda w, i: function(w.at, i).get(mode=mode),
        numbers(*shape),
        indices,
    )


@pytest.mark.parametrize("mode", MODES[:2])
def test_axis_of_length_one(mode):
    """There is one row, which is taken or not."""
    indices = np.asarray([0, 1, -1, -2, 5], np.int32)
    for function, shape in (
        (lambda w, i: w.at[i].get(mode=mode), (1, 3)),
        (lambda w, i: w.at[:, i].get(mode=mode), (3, 1, 2)),
    ):
        check_labels(GATHER, 0, function, numbers(*shape), indices)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.uint32])
def test_indices_of_any_integer(dtype):
    table = numbers(120, 2)
    indices = np.asarray([0, 1, 119, 127], dtype)
    for mode in ("fill", "clip"):
        check_labels(
            GATHER, 0, lambda w, i, m=mode: w.at[i].get(mode=m), table, indices
        )


def windows_of(length, numbers_of, mode):
    return lambda w, i: lax.gather(
        w, i, numbers_of, slice_sizes=length, mode=mode, indices_are_sorted=False
    )


SPANS = {
    "span": ((9, 2), (4, 2), (), (0,), [[0], [2], [5], [6], [9], [-1]]),
    "span_second": ((2, 9), (2, 4), (), (1,), [[0], [2], [5], [7]]),
    "span_collapsed": ((9, 1), (4, 1), (1,), (0,), [[0], [5], [8]]),
    "all_of_it": ((4, 2), (4, 2), (), (0,), [[0], [1], [-1]]),
    "whole_axis_indexed": ((9, 2), (1, 2), (0,), (1, 0), [[0, 3], [0, 8]]),
}


@pytest.mark.parametrize("mode", ["fill", "clip"])
@pytest.mark.parametrize("name", SPANS)
def test_spans(name, mode):
    """A gather may take several entries in a row from where its index says."""
    shape, window, collapsed, mapped, starts = SPANS[name]
    kept = len(shape) - len(collapsed)
    numbering = lax.GatherDimensionNumbers(
        offset_dims=tuple(range(1, 1 + kept)),
        collapsed_slice_dims=collapsed,
        start_index_map=mapped,
    )
    function = windows_of(window, numbering, mode)
    arguments = (numbers(*shape), np.asarray(starts, np.int32))
    if mode == "fill" and len(mapped) > 1:
        assert labels(GATHER, 0, function, *arguments) is None
        return
    check_labels(GATHER, 0, function, *arguments)


@pytest.mark.parametrize(
    ("function", "shape", "indices"),
    [
        (lambda w, i: w[i, i], (7, 7), integers(5)),
        (lambda w, i: w[:, i, i], (2, 7, 7), integers(5)),
    ],
)
def test_several_axes_at_once_are_opaque(function, shape, indices):
    assert labels(GATHER, 0, function, numbers(*shape), indices) is None


@pytest.mark.parametrize("start", [0, 4, 6, -3])
@pytest.mark.parametrize(
    ("shape", "axis", "length"),
    [
        ((7,), 0, 3),
        ((7, 2), 0, 1),
        ((2, 7), 1, 3),
        ((2, 7, 3), 1, 1),
        ((1, 3), 0, 1),
        ((2, 3), 1, 3),
    ],
)
def test_dynamic_slice(shape, axis, length, start):
    check_labels(
        primitives.dynamic_slice_p,
        0,
        lambda w, at: lax.dynamic_slice_in_dim(w, at, length, axis),
        numbers(*shape),
        np.asarray(start, np.int32),
    )


def test_slices_along_two_axes_are_opaque():
    start = np.asarray(1, np.int32)
    assert (
        labels(
            primitives.dynamic_slice_p,
            0,
            lambda w, at: lax.dynamic_slice(w, (at, at), (2, 3)),
            numbers(5, 7),
            start,
        )
        is None
    )
