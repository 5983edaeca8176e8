"""Every reduction of the output axes, of matched pairs too, from a tree of inputs."""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkplan
from tests.end_to_end.matrix import METHODS, methods_option
from tests.oracles import (
    dense_jacobian,
    kernel_of_jacobians,
    leaf_names,
    relative_error,
    x64,
)

N_EXAMPLES = 4

# Trace axes and diagonal axes of the output [n, 2, 3, 2].
AXES = [
    ((), ()),
    (None, ()),
    ((1,), (2,)),
    ((-1, 1), ()),
    ((), (-3, -1)),
    ((2,), (-1, 1)),
    ((-1, -2, -3), ()),
    ((), (3, 2, 1)),
    (3, -3),
    (-2, None),
    ((1, 2), 3),
    ((), 2),
]


def model(params, x):
    """[n, 2, 3, 2], of an image [n, 2, 3] and of what stands beside it [n, 2]."""
    hidden = jnp.einsum("nps,sh->nph", x["image"], params["w"])
    hidden = hidden + (x["beside"][0] @ params["u"])[:, None] + params["b"]
    return jnp.einsum("nph,hcd->npcd", jnp.tanh(hidden), params["head"])


@functools.cache
def problem():
    """Returns params, two batches, and the Jacobian of both, in float64."""
    rng = np.random.default_rng(8)
    params = {
        "w": rng.normal(size=(3, 5)),
        "u": rng.normal(size=(2, 5)),
        "b": rng.normal(size=5),
        "head": rng.normal(size=(5, 3, 2)),
    }
    batches = [
        {
            "image": rng.normal(size=(N_EXAMPLES, 2, 3)),
            "beside": (rng.normal(size=(N_EXAMPLES, 2)),),
        }
        for _ in range(2)
    ]
    return params, batches, [dense_jacobian(model, params, x) for x in batches]


def as_tuple(axes):
    if axes is None:
        return ()
    return (axes,) if isinstance(axes, int) else axes


def cells():
    """Every choice of axes; methods, kinds of pairs and examples take turns."""
    turns = zip(
        itertools.cycle(METHODS),
        itertools.cycle(("all", "matched", "all")),
        itertools.cycle((True, False)),
        strict=False,
    )
    return [(*axes, *turn) for axes, turn in zip(AXES, turns, strict=False)]


@pytest.mark.parametrize(
    ("trace_axes", "diagonal_axes", "method", "pairs", "cross"), cells(), ids=str
)
def test_axes_are_those_of_the_oracle(trace_axes, diagonal_axes, method, pairs, cross):
    params, (x1, x2), (jacobian1, jacobian2) = problem()
    options = {
        "trace_axes": trace_axes,
        "diagonal_axes": diagonal_axes,
        "pairs": pairs,
        "methods": methods_option(method, leaf_names(params)),
    }
    with x64():
        got = ntkplan.ntk(model, params, x1, x2 if cross else None, **options)
    wanted = kernel_of_jacobians(
        jacobian1,
        jacobian2 if cross else jacobian1,
        None,
        as_tuple(trace_axes),
        as_tuple(diagonal_axes),
        pairs,
    )
    assert relative_error(got, wanted) < 1e-12


@pytest.mark.parametrize(
    ("axes", "pairs", "method"),
    [
        ({"trace_axes": (-1, 1)}, "all", "structured_derivatives"),
        ({"diagonal_axes": (-2,), "trace_axes": 1}, "all", "ntk_vector_products"),
        ({"diagonal_axes": (1, 3)}, "matched", "jacobian_contraction"),
        ({"trace_axes": (1, 2, 3)}, "matched", "chosen"),
    ],
)
def test_axes_of_a_whole_batch(axes, pairs, method):
    params, (x1, x2), jacobians = problem()
    methods = methods_option(method, leaf_names(params))
    with x64():
        got = ntkplan.ntk(
            model, params, x1, x2, batch_axis=None, pairs=pairs, methods=methods, **axes
        )
    wanted = kernel_of_jacobians(
        *jacobians, None, **{k: as_tuple(v) for k, v in axes.items()}, pairs=pairs
    )
    assert relative_error(got, wanted) < 1e-12


def test_example_axis_may_be_counted_from_the_end():
    params, (x1, _), (jacobian, _) = problem()

    def of_examples_last(params, x):
        return model(params, jax.tree.map(lambda array: jnp.moveaxis(array, -1, 0), x))

    moved = jax.tree.map(lambda array: np.moveaxis(array, 0, -1), x1)
    with x64():
        got = ntkplan.ntk(
            of_examples_last, params, moved, kernel="trace", batch_axis=-1
        )
    wanted = kernel_of_jacobians(jacobian, jacobian, "trace")
    assert relative_error(got, wanted) < 1e-12
