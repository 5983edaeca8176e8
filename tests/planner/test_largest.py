"""Memory in blocks that the C library keeps, which no array may be larger than."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import ntkplan
from ntkplan import compiling
from tests.oracles import dense_kernel, relative_error

BLOCK = "xla_multiheap_size_constraint_per_heap"
MEBIBYTE = 2**20


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def perceptron(params, x):
    for weight in params[:-1]:
        x = jnp.tanh(x @ weight)
    return x @ params[-1]


def convolutional(params, x):
    for kernel in params[:-1]:
        x = lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        x = jnp.tanh(x)
    return x.reshape(len(x), -1) @ params[-1]


def attentive(params, x):
    query, key, value = (x @ weight for weight in params[:3])
    weights = jax.nn.softmax(jnp.einsum("nsx,ntx->nst", query, key), -1)
    return (weights @ value).mean(1) @ params[3]


def recurrent(params, x):
    def step(state, now):
        return jnp.tanh(state @ params[0] + now @ params[1]), None

    start = jnp.zeros((len(x), params[0].shape[0]), x.dtype)
    state, _ = lax.scan(step, start, x.swapaxes(0, 1))
    return state @ params[2]


def looked_up(params, tokens):
    return jnp.tanh(params[0][tokens] @ params[1]).mean(1) @ params[2]


def perceptron_problem():
    shapes = [(30, 64), (64, 64), (64, 100)]
    return perceptron, shapes, (normal(8, 12, 30), normal(9, 10, 30))


def convolutional_problem():
    shapes = [(3, 3, 3, 8), (3, 3, 8, 8), (8 * 144, 6)]
    return convolutional, shapes, (normal(8, 5, 12, 12, 3), normal(9, 4, 12, 12, 3))


def attentive_problem():
    shapes = [(16, 16), (16, 16), (16, 16), (16, 10)]
    return attentive, shapes, (normal(8, 6, 20, 16), normal(9, 7, 20, 16))


def recurrent_problem():
    shapes = [(32, 32), (4, 32), (32, 10)]
    return recurrent, shapes, (normal(8, 6, 20, 4), normal(9, 7, 20, 4))


def lookup_problem():
    tokens = np.random.default_rng(8).integers(50, size=(11, 20))
    return looked_up, [(50, 32), (32, 32), (32, 10)], (tokens[:6], tokens[6:])


PROBLEMS = (
    perceptron_problem,
    convolutional_problem,
    attentive_problem,
    recurrent_problem,
    lookup_problem,
)


def drawn(shapes):
    return [
        normal(n, *shape) / np.sqrt(np.prod(shape[:-1]))
        for n, shape in enumerate(shapes)
    ]


def temporary_bytes(plan, given, block_bytes):
    options = compiling.options_of(plan.cost) | {BLOCK: int(block_bytes)}
    lowered = jax.jit(plan.compile().function).lower(*given)
    return lowered.compile(options).memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("methods", [None, "ntk_vector_products"], ids=str)
@pytest.mark.parametrize("alone", [True, False], ids=("self", "cross"))
@pytest.mark.parametrize("make", PROBLEMS, ids=lambda make: make.__name__)
def test_no_array_of_the_compiled_kernel_is_larger(make, alone, methods):
    """An array that is larger than a block shares no memory, and needs more of it."""
    if not compiling.kept_blocks():
        pytest.skip("this compiler has all temporaries in one block")
    f, shapes, (x1, x2) = make()
    given = (drawn(shapes), x1) if alone else (drawn(shapes), x1, x2)
    plan = ntkplan.plan(f, *given, methods=methods or {})
    in_one = temporary_bytes(plan, given, 2**30)
    in_blocks = temporary_bytes(plan, given, 1.1 * plan.cost.largest_bytes)
    assert in_blocks <= 1.3 * in_one


def test_arrays_larger_than_blocks_share_no_memory():
    """Which is why blocks are for kernels of smaller arrays alone."""
    if not compiling.kept_blocks():
        pytest.skip("this compiler has all temporaries in one block")
    f, shapes, examples = convolutional_problem()
    given = (drawn(shapes), *examples)
    plan = ntkplan.plan(f, *given)
    in_one = temporary_bytes(plan, given, 2**30)
    assert temporary_bytes(plan, given, 0.2 * plan.cost.largest_bytes) > 1.5 * in_one


def test_blocks_are_for_kernels_of_several_and_of_small_arrays():
    f, shapes, (x1, _) = perceptron_problem()
    cost = ntkplan.plan(f, drawn(shapes), x1).cost

    def in_blocks(peak, largest):
        changed = dataclasses.replace(cost, peak_bytes=peak, largest_bytes=largest)
        return BLOCK in compiling.options_of(changed)

    if not compiling.kept_blocks():
        pytest.skip("this compiler has all temporaries in one block")
    assert in_blocks(50.0 * MEBIBYTE, 10.0 * MEBIBYTE)
    assert not in_blocks(10.0 * MEBIBYTE, 5.0 * MEBIBYTE)
    assert not in_blocks(50.0 * MEBIBYTE, 25.0 * MEBIBYTE)
    assert not in_blocks(50.0 * MEBIBYTE, None)


def test_more_examples_than_planned_are_compiled_without_blocks():
    f, shapes, (x1, x2) = perceptron_problem()
    plan = ntkplan.plan(f, drawn(shapes), x1, x2)
    sized = plan.sized(plan.compile().function)
    planned = sized.compiled(x1, x2)
    assert sized.compiled(x1[:5], x2[:1]) is planned
    assert sized.compiled(x1[: len(x2)]) is planned
    more = np.concatenate([x1, x2])
    others = [
        sized.compiled(x1),
        sized.compiled(more, x2),
        sized.compiled(x1, more),
    ]
    assert planned not in others
    assert len(set(map(id, others))) == 1
    alone = ntkplan.plan(f, drawn(shapes), x1)
    sized = alone.sized(alone.compile().function)
    assert sized.compiled(x2) is sized.compiled(x1)
    assert sized.compiled(x1, x2) is not sized.compiled(x1)


def test_kernels_in_blocks_are_right_for_fewer_and_more_examples():
    """Planned for 40 MB, in arrays of at most 15 MB; called for less, and for more."""
    params = drawn([(20, 40), (40, 40), (40, 80)])
    x1, x2 = normal(8, 15, 20), normal(9, 18, 20)
    plan = ntkplan.plan(
        perceptron, params, x1[:14], x2[:14], methods="jacobian_contraction"
    )
    if compiling.kept_blocks():
        assert BLOCK in compiling.options_of(plan.cost)
    kernel = plan.compile()
    expected = dense_kernel(perceptron, params, x1, x2)
    for n1, n2 in ((14, 14), (3, 5), (15, 18)):
        got = kernel(params, x1[:n1], x2[:n2])
        assert relative_error(got, expected[:n1, :n2]) < 1e-5
