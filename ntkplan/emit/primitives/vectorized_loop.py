"""Loops whose entries stop one by one, as loops of `lax.while_loop`.

`jax.vmap` makes a loop whose condition is an array. It goes on until all entries have
stopped, and keeps those that have.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ntkplan._jax import ClosedJaxpr, array_spec, evaluate
from ntkplan.ir.equation import Equation


def until_all_have_stopped(equation: Equation) -> dict[str, Any]:
    """Returns the parameters of the loop with one condition that is the same.

    Args:
        equation: A `while` whose condition is an array; its first axes are those of
            everything that is carried.
    """
    parameters = equation.parameters
    test, body = parameters["cond_jaxpr"], parameters["body_jaxpr"]
    n_test, n_body = parameters["cond_nconsts"], parameters["body_nconsts"]

    def goes_on(*arguments: Any) -> Any:
        return jnp.any(evaluate(test, *arguments)[0])

    def step(*arguments: Any) -> list[Any]:
        test_consts, rest = arguments[:n_test], arguments[n_test:]
        carry = rest[n_body:]
        going = evaluate(test, *test_consts, *carry)[0]
        return [
            jnp.where(_spread(going, new), new, old)
            for new, old in zip(evaluate(body, *rest), carry, strict=True)
        ]

    specs = [array_spec(item) for item in equation.inputs]
    consts, carry = specs[: n_test + n_body], specs[n_test + n_body :]
    return {
        "cond_jaxpr": jax.make_jaxpr(goes_on)(*consts[:n_test], *carry),
        "cond_nconsts": n_test,
        "body_jaxpr": jax.make_jaxpr(step)(*consts, *carry),
        "body_nconsts": n_test + n_body,
    }


def _spread(going: jax.Array, like: jax.Array) -> jax.Array:
    """Gives a condition the rank of what is chosen by it."""
    return going.reshape(going.shape + (1,) * (like.ndim - going.ndim))


def is_vectorized(test: ClosedJaxpr) -> bool:
    """Says whether a loop's condition is an array."""
    return bool(test.out_avals[0].shape)
