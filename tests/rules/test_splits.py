"""A leaf cut into several arrays at once, against the Jacobian of each."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from ntkplan.rules import axes
from ntkplan.rules.axes import Absent, AxisMap
from ntkplan.rules.splits import SPLITS, carry_parts
from tests.oracles import x64
from tests.rules.checks import assert_close
from tests.rules.dense import mapped_jacobian
from tests.rules.traced import Traced, both_jacobians, numbers

CUTS = {
    "thirds": (lambda w: lax.split(w, (2, 3, 1)), (6, 2)),
    "columns": (lambda w: lax.split(w, (1, 4), axis=1), (3, 5)),
    "all_in_one": (lambda w: lax.split(w, (5,)), (5,)),
    "by_numpy": (lambda w: jnp.split(w, 3, axis=-1), (2, 6)),
    "unstack": (lambda w: jnp.unstack(w), (3, 2)),
    "unstack_last": (lambda w: jnp.unstack(w, axis=-1), (2, 1, 3)),
    "unstack_one": (lambda w: jnp.unstack(w, axis=1), (2, 1, 3)),
    "unstack_vector": (lambda w: jnp.unstack(w), (3,)),
}


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("name", CUTS)
def test_cut(name, whole):
    function, shape = CUTS[name]
    leaf = numbers(*shape)
    traced = Traced(function, leaf)
    (number, *others) = range(len(traced.body.equations))
    if others or traced.body.equations[number].primitive not in SPLITS:
        pytest.skip("this JAX writes it as slices")
    with x64():
        parts = carry_parts(traced.step(number, 0, whole=whole), axes.identity(shape))
    assert len(parts) == len(traced.body.outputs)
    for at, part in enumerate(parts):
        assert isinstance(part, AxisMap)
        got = mapped_jacobian(part, shape, traced.value)
        for wanted in both_jacobians(lambda w, at=at: function(w)[at], leaf):
            assert_close(got, wanted)


def test_cut_of_the_padding():
    """A part that has no entry of the leaf says so."""
    padded = axes.placed(axes.identity((3,)), 0, low=0, step=1, size=6)
    assert padded is not None
    traced = Traced(lambda w: lax.split(w, (3, 3)), numbers(6))
    first, second = carry_parts(traced.step(0, 0), padded)
    assert isinstance(first, AxisMap)
    assert isinstance(second, Absent)
    np.testing.assert_array_equal(mapped_jacobian(first, (3,), traced.value), np.eye(3))
