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
