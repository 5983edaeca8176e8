"""Sums with data, and joining a leaf with it."""

from __future__ import annotations

import jax.numpy as jnp
import pytest
from jax import lax

from ntkplan._jax import primitives
from tests.rules.checks import check_labels
from tests.rules.traced import numbers


@pytest.mark.parametrize("operand", [0, 1, 2])
@pytest.mark.parametrize(
    ("shapes", "dimension"),
    [
        (((2,), (3,), (5,)), 0),
        (((1,), (1,), (1,)), 0),
        (((2, 3), (5, 3), (1, 3)), 0),
        (((3, 2), (3, 5), (3, 1)), 1),
        (((2, 5, 3), (2, 1, 3), (2, 4, 3)), 1),
        (((1, 1, 3), (1, 1, 2), (1, 1, 5)), 2),
    ],
)
def test_concatenate(shapes, dimension, operand):
    arrays = [numbers(*shape, seed=seed) for seed, shape in enumerate(shapes)]
    check_labels(
        primitives.concatenate_p,
        operand,
        lambda *parts: lax.concatenate(parts, dimension),
        *arrays,
    )


@pytest.mark.parametrize("operand", [0, 1])
@pytest.mark.parametrize("shape", [(), (5,), (3, 5), (1, 5)])
@pytest.mark.parametrize(
    ("primitive", "function"),
    [(primitives.add_p, jnp.add), (primitives.sub_p, jnp.subtract)],
)
def test_one_array_twice(primitive, function, shape, operand):
    """Each operand counts on its own, and no data is needed."""
    found = check_labels(primitive, operand, lambda a: function(a, a), numbers(*shape))
    assert found.recorded is None


@pytest.mark.parametrize("operand", [0, 2])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("shape", [(3, 5), (1, 2)])
def test_stack(shape, axis, operand):
    """Where JAX has no primitive for it, a stack is a concatenation."""
    primitive = getattr(lax, "stack_p", primitives.concatenate_p)
    arrays = [numbers(*shape, seed=seed) for seed in range(3)]
    check_labels(
        primitive, operand, lambda *parts: jnp.stack(parts, axis=axis), *arrays
    )


@pytest.mark.parametrize("axis", [0, -1])
def test_stack_of_scalars(axis):
    primitive = getattr(lax, "stack_p", primitives.concatenate_p)
    for operand in (0, 1):
        check_labels(
            primitive,
            operand,
            lambda a, b: jnp.stack([a, b], axis=axis),
            numbers(),
            numbers(seed=1),
        )
