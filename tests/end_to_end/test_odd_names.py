"""Parameters may be called as Python and JAX let them be called."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import pytest

import ntkplan
from tests.oracles import dense_kernel, relative_error

X = jnp.linspace(-1.0, 1.0, 12, dtype=jnp.float32).reshape(3, 4)
NAMES = (("λ", "φ"), ("größe", "größ"), ("重", "量"), ("a'b", 'a"b'), ("'\"", "\\"))
METHODS = (None, "structured_derivatives", "ntk_vector_products")
FIRST = jnp.sin(jnp.arange(20.0, dtype=jnp.float32)).reshape(4, 5)
SECOND = jnp.cos(jnp.arange(10.0, dtype=jnp.float32)).reshape(5, 2)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("first", "second"), NAMES)
def test_keys_of_any_letters(first, second, method):
    def f(params, x):
        return jnp.tanh(x @ params[first]) @ params[second]

    params = {first: FIRST, second: SECOND}
    got = ntkplan.plan(f, params, X, methods=method).compile()(params, X)
    assert relative_error(got, dense_kernel(f, params, X)) < 1e-5


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Fields:
    """Its fields are called as arguments of functions are."""

    self: jax.Array
    params: jax.Array


def test_fields_of_any_names():
    def f(params, x):
        return jnp.tanh(x @ params.self) @ params.params

    params = Fields(**{"self": FIRST, "params": SECOND})
    got = ntkplan.plan(f, params, X).compile()(params, X)
    assert relative_error(got, dense_kernel(f, params, X)) < 1e-5
