"""What a body computes twice in the same way is printed once."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ntkplan.emit.draft import Added
from tests.emit import evaluation

X = jnp.linspace(-1.0, 1.0, 64).reshape(8, 8)


def twice(x):
    first, second = jnp.sin(x) + 1.0, jnp.sin(x) + 1.0
    return first * jnp.flip(first), second * jnp.flip(second, 0)


def test_weights_of_a_resize_are_those_of_both_axes():
    def resized(x):
        return jax.image.resize(x, (16, 16), "bilinear")

    body = evaluation.traced(resized, X)
    result = evaluation.printed(body)
    assert str(result.lines).count("jnp.arange(16") == 1
    got = evaluation.evaluate_printed(body, result)({}, X)
    np.testing.assert_allclose(got[0], resized(X), rtol=1e-6)


def test_values_are_computed_once():
    body = evaluation.traced(twice, X)
    result = evaluation.printed(body)
    assert str(result.lines).count("jnp.sin") == 1
    got = evaluation.evaluate_printed(body, result)({}, X)
    np.testing.assert_allclose(got, twice(X), rtol=1e-6)


def test_what_is_tapped_or_kept_has_a_name_of_its_own():
    body = evaluation.traced(twice, X)
    first, second = [e.outputs[0] for e in body.equations if e.primitive.name == "sin"]
    for tapped, kept in ((first, second), (second, first)):
        result = evaluation.printed(
            body, after={tapped: Added(text='taps["a"]')}, keep=[kept]
        )
        assert str(result.lines).count("jnp.sin") == 2
        taps = {"a": jnp.full_like(X, 0.5)}
        got = evaluation.evaluate_printed(body, result)(taps, X)
        wanted = evaluation.evaluate_body(body, {tapped: "a"})(taps, X)
        np.testing.assert_allclose(got, wanted, rtol=1e-6)
