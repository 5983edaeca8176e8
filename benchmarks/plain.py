"""The full kernel in plain JAX, the obvious ways, with no part of ntkplan.

Both take any `f` that maps `params` and `[n, ...]` to `[n, n_outputs]`, and return a
function to be jitted that gives the kernel `[n1, n2, n_outputs, n_outputs]`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Model = Callable[[Any, jax.Array], jax.Array]
Kernel = Callable[..., jax.Array]


def jacobian_contraction(f: Model) -> Kernel:
    """Returns the kernel by whole Jacobians of every example, leaf after leaf.

    Args:
        f: The model.
    """

    def kernel(params: Any, x1: jax.Array, x2: jax.Array | None = None) -> jax.Array:
        def one_output(params: Any, x: jax.Array) -> jax.Array:
            return f(params, x[None])[0]

        jacobians = jax.vmap(jax.jacrev(one_output), in_axes=(None, 0))
        jacobians1 = jacobians(params, x1)
        jacobians2 = jacobians1 if x2 is None else jacobians(params, x2)

        def contract(leaf1: jax.Array, leaf2: jax.Array) -> jax.Array:
            flat1 = leaf1.reshape(*leaf1.shape[:2], -1)
            flat2 = leaf2.reshape(*leaf2.shape[:2], -1)
            return jnp.einsum("now,mpw->nmop", flat1, flat2)

        parts = jax.tree.map(contract, jacobians1, jacobians2)
        return jax.tree.reduce(jnp.add, parts)

    return kernel


def ntk_vector_products(f: Model) -> Kernel:
    """Returns the kernel column by column: pulled back at x2, pushed forward at x1.

    Args:
        f: The model.
    """

    def kernel(params: Any, x1: jax.Array, x2: jax.Array | None = None) -> jax.Array:
        def columns(x: jax.Array) -> jax.Array:
            """Maps one example of x2 to `[n_outputs, n1, n_outputs]`."""
            output, pull_back = jax.vjp(lambda params: f(params, x[None])[0], params)

            def column(cotangent: jax.Array) -> jax.Array:
                (tangent,) = pull_back(cotangent)
                push = lambda params: f(params, x1)  # noqa: E731
                return jax.jvp(push, (params,), (tangent,))[1]

            basis = jnp.eye(output.shape[0], dtype=output.dtype)
            return jax.vmap(column)(basis)

        by_column = jax.vmap(columns)(x1 if x2 is None else x2)
        return jnp.transpose(by_column, (2, 0, 3, 1))

    return kernel
