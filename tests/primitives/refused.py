"""Operations that are refused where a parameter's derivative would pass them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import io_callback, pallas

from ntkplan.errors import (
    MutableReferenceError,
    NtkPlanError,
    UnsupportedPrimitiveError,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RefusedModel:
    """A product with a parameter, and an operation that JAX cannot pull back.

    Attributes:
        name: Unique.
        primitive: What the message must name.
        operation: From `[n, 4]` to `[n, ...]`.
        error: With which it is refused.
        because: What the message must say besides.
    """

    name: str
    primitive: str
    operation: Callable[[Any], Any]
    error: type[NtkPlanError] = UnsupportedPrimitiveError
    because: str = "Parameter w reaches the output through it"


def _refused(primitive: str, operation: Callable[[Any], Any], **options: Any) -> Any:
    name = options.pop("name", primitive)
    return RefusedModel(name=name, primitive=primitive, operation=operation, **options)


@jax.custom_batching.custom_vmap
def _doubled(h):
    return 2.0 * h


@_doubled.def_vmap
def _doubled_batch(size, batched, h):
    return _doubled(h), True


def _linear_call(h):
    def scaled(factor, value):
        return value * factor

    return jax.custom_derivatives.linear_call(scaled, scaled, 3.0, h)


def _composite(h):
    return lax.composite(lambda value: jnp.sin(value), "tests.sine")(h)


def _same_shape(h):
    return jax.ShapeDtypeStruct(h.shape, h.dtype)


def _pallas(h):
    def body(source, target):
        target[...] = jnp.sin(source[...])

    return pallas.pallas_call(body, out_shape=_same_shape(h), interpret=True)(h)


def _reference(h):
    make = jax.new_ref if hasattr(jax, "new_ref") else jax._src.core.mutable_array
    reference = make(h)
    reference[...] = jnp.sin(reference[...])
    return reference[...]


def _reference_in_a_loop(h):
    return lax.scan(lambda carry, _: (_reference(carry), None), h, None, length=2)[0]


def _windows(h):
    return lax.reduce_window(h, 1.0, lax.mul, (1, 2), (1, 1), "VALID")


def _matrices(h):
    return jnp.tile(h[:, None], (1, 4, 1)) + jnp.diag(jnp.arange(4.0))


def _directions_in_a_loop(h):
    def step(carry, _):
        return carry + jnp.abs(jnp.linalg.eig(_matrices(carry))[1][:, 0]), None

    return lax.scan(step, h, None, length=2)[0]


def _halved(h):
    return lax.while_loop(lambda v: jnp.sum(v) > 1.0, lambda v: v / 2.0, h)


def _halved_in_a_loop(h):
    return lax.scan(lambda carry, _: (_halved(carry), None), h, None, length=2)[0]


MUTABLE = {"error": MutableReferenceError, "because": "x.at[index].set(value)"}

MODELS: tuple[RefusedModel, ...] = (
    _refused("while", _halved, because="fori_loop with a static trip count"),
    _refused("while", _halved_in_a_loop, name="while_in_a_scan"),
    _refused("reduce_window", _windows),
    _refused("custom_vmap_call", _doubled),
    _refused("linear_call", _linear_call, because="Batching rule"),
    _refused("composite", _composite, because="JVP rule"),
    _refused(
        "pure_callback",
        lambda h: jax.pure_callback(np.sin, _same_shape(h), h),
        because="do not support JVP",
    ),
    _refused(
        "io_callback",
        lambda h: io_callback(np.sin, _same_shape(h), h),
        because="do not support JVP",
    ),
    _refused("ffi_call", lambda h: jax.ffi.ffi_call("none", _same_shape(h))(h)),
    _refused("pallas_call", _pallas),
    _refused(
        "ragged_dot_general",
        lambda h: lax.ragged_dot(
            h, jnp.ones((1, 4, 2), h.dtype), jnp.array([1], jnp.int32)
        ),
    ),
    _refused("nextafter", lambda h: lax.nextafter(h, jnp.ones_like(h))),
    _refused("zeta", lambda h: lax.zeta(2.0 + h, 2.0 + h)),
    _refused(
        "polygamma", lambda h: lax.polygamma(1.0 + h, 1.0 + h), because="respect to m"
    ),
    _refused(
        "regularized_incomplete_beta",
        lambda h: lax.betainc(1.0 + h, 1.0 + h, jnp.full_like(h, 0.5)),
        because="respect to a and b",
    ),
    _refused("eig", lambda h: jnp.abs(jnp.linalg.eig(_matrices(h))[1])),
    _refused("eig", _directions_in_a_loop, name="eig_in_a_scan"),
    _refused("svd", lambda h: jnp.linalg.svd(_matrices(h)[:, :2])[2]),
    _refused("schur", lambda h: lax.linalg.schur(_matrices(h))[0]),
    _refused("hessenberg", lambda h: lax.linalg.hessenberg(_matrices(h))[0]),
    _refused("tridiagonal", lambda h: lax.linalg.tridiagonal(_matrices(h))[0]),
    _refused(
        "householder_product",
        lambda h: lax.linalg.householder_product(_matrices(h), h),
    ),
    _refused(
        "new_ref" if hasattr(jax, "new_ref") else "mutable_array",
        _reference,
        **MUTABLE,
    ),
    _refused(
        "new_ref" if hasattr(jax, "new_ref") else "mutable_array",
        _reference_in_a_loop,
        name="reference_in_a_scan",
        **MUTABLE,
    ),
)

# Those of them that are differentiable by other operands, or with other parameters.
_PARTLY = {"eig", "polygamma", "regularized_incomplete_beta", "svd"}

ALWAYS: frozenset[str] = frozenset(model.primitive for model in MODELS) - _PARTLY
"""Primitives that no parameter's derivative passes."""
