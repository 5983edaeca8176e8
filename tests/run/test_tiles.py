"""Tiles against one dense call, with a kernel that is written down in a line."""

import io
import re

import jax
import numpy as np
import pytest
import rich.console
from hypothesis import given, settings
from hypothesis import strategies as st

from ntkplan.errors import InvalidTilesError
from ntkplan.run.tiles import count_tiles, kernel_in_tiles, progress_bar

# The Jacobian of sin(x W) with respect to W, in float64: a kernel whose blocks are
# not symmetric in the outputs, so that a mirror without a swap is wrong.
WEIGHTS = np.random.default_rng(0).normal(size=(3, 2, 4))


def full_kernel(params, x1, x2):
    """[n1, n2, a, a', b, b'] for outputs [a, b]."""
    slope1 = np.cos(np.einsum("ni,iab->nab", x1, params))
    slope2 = np.cos(np.einsum("ni,iab->nab", x2, params)) + x2.sum(-1)[:, None, None]
    slope1 = slope1 + x1.sum(-1)[:, None, None]
    return np.einsum("nm,nab,mcd->nmacbd", x1 @ x2.T, slope1, slope2)


def one_output_axis(params, x1, x2):
    """[n1, n2, b, b']."""
    return full_kernel(params, x1, x2)[:, :, 0, 1]


def trace_kernel(params, x1, x2):
    return np.einsum("nmaabb->nm", full_kernel(params, x1, x2)) / 8


def diagonal_kernel(params, x1, x2):
    """[n1, n2, a, b]."""
    return np.einsum("nmaabb->nmab", full_kernel(params, x1, x2))


def mixed_kernel(params, x1, x2):
    """[n1, n2, a, b, b']: a diagonal axis ahead of a pair."""
    return np.einsum("nmaabc->nmabc", full_kernel(params, x1, x2))


SYMMETRIC = [
    (trace_kernel, None),
    (trace_kernel, []),
    (diagonal_kernel, []),
    (mixed_kernel, [(3, 4)]),
    (full_kernel, [(2, 3), (4, 5)]),
]


def examples(count, seed=1):
    return np.random.default_rng(seed).normal(size=(count, 3))


sizes = st.integers(1, 12)


@settings(deadline=None, max_examples=60)
@given(n=sizes, tile=st.integers(1, 14), case=st.sampled_from(SYMMETRIC))
def test_symmetric_tiles_equal_one_call(n, tile, case):
    kernel, pairs = case
    x = examples(n)
    tiled = kernel_in_tiles(kernel, WEIGHTS, x, tile1=tile, output_pairs=pairs)
    dense = kernel(WEIGHTS, x, x)
    assert tiled.dtype == dense.dtype
    np.testing.assert_allclose(tiled, dense, rtol=0, atol=1e-12 * abs(dense).max())
    mirror = list(range(dense.ndim))
    for first, second in [(0, 1), *(pairs or ())]:
        mirror[first], mirror[second] = second, first
    np.testing.assert_array_equal(tiled, tiled.transpose(mirror))


@settings(deadline=None, max_examples=60)
@given(n1=sizes, n2=sizes, tile1=st.integers(1, 14), tile2=st.integers(1, 14))
def test_rectangular_tiles_equal_one_call(n1, n2, tile1, tile2):
    x1, x2 = examples(n1), examples(n2, seed=2)
    tiled = kernel_in_tiles(full_kernel, WEIGHTS, x1, x2, tile1=tile1, tile2=tile2)
    dense = full_kernel(WEIGHTS, x1, x2)
    np.testing.assert_allclose(tiled, dense, rtol=0, atol=1e-12 * abs(dense).max())


@settings(deadline=None, max_examples=60)
@given(n1=sizes, n2=st.none() | sizes, tile1=st.integers(1, 14))
def test_every_tile_is_counted_and_of_one_shape(n1, n2, tile1):
    shapes, reports = set(), []

    def kernel(params, x1, x2):
        shapes.add((x1.shape, x2.shape))
        return x1 @ x2.T

    kernel_in_tiles(
        kernel,
        None,
        examples(n1),
        None if n2 is None else examples(n2, seed=2),
        tile1=tile1,
        progress=lambda done, total: reports.append((done, total)),
    )
    total = count_tiles(n1, n2, tile1=tile1)
    assert reports == [(done, total) for done in range(total + 1)]
    assert len(shapes) == 1


def test_a_kernel_may_say_itself_how_its_outputs_pair_up():
    class Kernel:
        output_pairs = ((2, 3), (4, 5))
        __call__ = staticmethod(full_kernel)

    x = examples(5)
    tiled = kernel_in_tiles(Kernel(), WEIGHTS, x, tile1=2)
    np.testing.assert_allclose(tiled, full_kernel(WEIGHTS, x, x), atol=1e-9)


def test_symmetric_tiles_compute_the_lower_triangle_only():
    starts = []

    def kernel(params, x1, x2):
        starts.append((float(x1[0, 0]), float(x2[0, 0])))
        return x1 @ x2.T

    kernel_in_tiles(kernel, None, np.arange(7.0)[:, None], tile1=3)
    assert starts == [(0, 0), (3, 0), (3, 3), (6, 0), (6, 3), (6, 6)]


def test_one_program_is_compiled_for_ragged_tiles():
    traced = []

    @jax.jit
    def kernel(params, x1, x2):
        traced.append(x1.shape)
        return x1 @ x2.T

    kernel_in_tiles(kernel, None, examples(7), examples(5), tile1=3, tile2=2)
    assert traced == [(3, 3)]


def test_pytrees_and_another_batch_axis():
    def kernel(params, x1, x2):
        return x1["a"].T @ x2["a"] + x1["b"].sum(0)[:, None] * x2["b"].sum(0)

    x1 = {"a": examples(7).T, "b": examples(7, seed=2).T}
    x2 = {"a": examples(5, seed=3).T, "b": examples(5, seed=4).T}
    tiled = kernel_in_tiles(kernel, None, x1, x2, tile1=3, tile2=2, batch_axis=-1)
    np.testing.assert_allclose(tiled, kernel(None, x1, x2), atol=1e-12)


def test_writes_into_a_memory_map(tmp_path):
    x = examples(5)
    out = np.memmap(tmp_path / "kernel.bin", np.float64, "w+", shape=(5, 5))
    assert kernel_in_tiles(trace_kernel, WEIGHTS, x, tile1=2, out=out) is out
    np.testing.assert_allclose(out, trace_kernel(WEIGHTS, x, x), atol=1e-12)


@pytest.mark.parametrize(
    ("kernel", "options", "message"),
    [
        (trace_kernel, {"tile1": 0}, "tiles of 0 x 0 examples hold nothing"),
        (trace_kernel, {"tile1": 2, "tile2": 3}, "have to be square, not 2 x 3"),
        (one_output_axis, {"tile1": 2}, "nothing says which output axes change places"),
        (
            full_kernel,
            {"tile1": 2, "output_pairs": [(2, 4)]},
            "output_pairs [(2, 4)] do not fit a tile of [2, 2, 2, 2, 4, 4]",
        ),
        (
            full_kernel,
            {"tile1": 2, "output_pairs": [(2, 3), (3, 2)]},
            "every axis once at most",
        ),
        (
            full_kernel,
            {"tile1": 2, "output_pairs": []},
            "differs from its mirror image by",
        ),
        (lambda p, a, b: (a * b).sum(-1), {"tile1": 2}, "came out with shape [2]"),
        (
            trace_kernel,
            {"tile1": 2, "out": np.empty((5, 5), np.float32)},
            "out is float32[5, 5], the kernel float64[5, 5]",
        ),
        (
            trace_kernel,
            {"tile1": 2, "batch_axis": 2},
            "x1 of shape [5, 3] has no axis 2",
        ),
    ],
)
def test_wrong_input_is_refused(kernel, options, message):
    with pytest.raises(InvalidTilesError, match=re.escape(message)):
        kernel_in_tiles(kernel, WEIGHTS, examples(5), **options)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ({"a": np.ones((3, 1)), "b": np.ones((2, 1))}, "x1['a']: 3, x1['b']: 2"),
        (np.ones((0, 2)), "x1 holds no example"),
        ({}, "x1 holds no example"),
    ],
)
def test_examples_that_do_not_fit_are_refused(x, message):
    with pytest.raises(InvalidTilesError, match=re.escape(message)):
        kernel_in_tiles(trace_kernel, WEIGHTS, x, tile1=2)


def test_progress_bar_shows_the_tiles():
    screen = io.StringIO()
    console = rich.console.Console(file=screen, width=100)
    with progress_bar("kernel", console) as progress:
        kernel_in_tiles(trace_kernel, WEIGHTS, examples(5), tile1=2, progress=progress)
    assert "kernel" in screen.getvalue()
    assert "6/6 tiles" in screen.getvalue()
