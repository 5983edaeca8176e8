"""The same kernel the obvious way: both Jacobians whole, then their product."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


@functools.partial(jax.jit, static_argnums=0)
def jacobian_contraction(
    f: Callable[[Any, jax.Array], jax.Array],
    params: Any,
    x1: jax.Array,
    x2: jax.Array,
) -> jax.Array:
    """Returns the trace kernel `[n1, n2]` of `f` with plain `jax.jacrev`.

    Args:
        f: Maps `params` and `[n, ...]` to `[n, n_outputs]`.
        params: Its parameters.
        x1: `[n1, ...]`.
        x2: `[n2, ...]`.
    """

    def one_output(params: Any, x: jax.Array) -> jax.Array:
        return f(params, x[None])[0]

    jacobian = jax.vmap(jax.jacrev(one_output), in_axes=(None, 0))
    jacobian1, jacobian2 = jacobian(params, x1), jacobian(params, x2)

    def contract(leaf1: jax.Array, leaf2: jax.Array) -> jax.Array:
        n1, n_outputs = leaf1.shape[:2]
        leaf1 = leaf1.reshape(n1, n_outputs, -1)
        leaf2 = leaf2.reshape(len(leaf2), n_outputs, -1)
        return jnp.einsum("nop,mop->nm", leaf1, leaf2) / n_outputs

    products = jax.tree.map(contract, jacobian1, jacobian2)
    return jax.tree.reduce(jnp.add, products)
