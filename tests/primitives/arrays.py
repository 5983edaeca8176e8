"""Models with a reduction, a window, a shape or an index on the data path."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.primitives.model import PrimitiveModel, model

PAIR = ((4,), (4,))
MATRIX = ((2, 3),)
SOME = np.array([1, 3])


def _window(h, start=-np.inf, operation=lax.max):
    return lax.reduce_window(h, start, operation, (2,), (1,), ((1, 0),))


def _reduced(h):
    return lax.reduce(h, np.float64(0.5), lambda a, b: a + b + a * b, (1,))


def _counted(h):
    ones = lax.reduce_xor((4.0 * h).astype(jnp.int32), (0,))
    return h * (jnp.all(h > -9.0) | jnp.any(h > 0.0)) * ones


def _slope_of_pooling(h):
    return jax.grad(lambda v: jnp.sum(_window(v) ** 3))(h)


def _pooled_tangent(a, b):
    return jax.jvp(lambda v: _window(v) ** 2, (a,), (b,))[1]


REDUCTIONS: tuple[PrimitiveModel, ...] = (
    model("reduce_sum", lambda h: h.sum(0) ** 2, shapes=MATRIX),
    model("reduce_prod", lambda h: h.prod(1), shapes=MATRIX),
    model("reduce_max", lambda h: h.max(0), shapes=MATRIX),
    model("reduce_min", lambda h: h.min(1), shapes=MATRIX),
    model("reduce", _reduced, shapes=MATRIX),
    model("reduce_and reduce_or reduce_xor", _counted),
    model("cumsum", lambda h: jnp.cumsum(h, axis=1) ** 2, shapes=MATRIX),
    model("cumprod", lambda h: lax.cumprod(h, axis=1, reverse=True), shapes=MATRIX),
    model("cummax", lambda h: lax.cummax(h, axis=0)),
    model("cummin", lambda h: lax.cummin(h, axis=0, reverse=True)),
    model("cumlogsumexp", lambda h: lax.cumlogsumexp(h, axis=0)),
    model("sort", lambda h: jnp.sort(h) * jnp.arange(1.0, 5.0)),
    model(
        "sort",
        lambda a, b: lax.sort((a, b), num_keys=1),
        shapes=PAIR,
        name="sort_pairs",
    ),
    model("sort", lambda a, b: b[jnp.argsort(a)] * a, shapes=PAIR, name="argsort"),
    model("top_k", lambda h: lax.top_k(h, 2)[0] * jnp.arange(1.0, 3.0)),
    model("approx_top_k", lambda h: lax.approx_max_k(h, 2)[0] * jnp.arange(1.0, 3.0)),
    model("reduce_window_sum", lambda h: _window(h, 0.0, lax.add) ** 2),
    model("reduce_window_max", _window),
    model("reduce_window_min", lambda h: _window(h, np.inf, lax.min)),
    model(
        "reduce_window",
        lambda h: h * _window(lax.stop_gradient(h), 1.0, lax.mul),
        by_reference=True,
    ),
    model("select_and_scatter_add", _slope_of_pooling, by_reference=True),
    model("select_and_gather_add", _pooled_tangent, shapes=PAIR, by_reference=True),
)

SHAPES: tuple[PrimitiveModel, ...] = (
    model(
        "broadcast_in_dim",
        lambda h: jnp.broadcast_to(h, (2, 4)) * jnp.arange(8.0).reshape(2, 4),
    ),
    model(
        "reshape transpose",
        lambda h: jnp.sin(h.T.reshape(-1)) * jnp.arange(6.0),
        shapes=MATRIX,
    ),
    model("squeeze", lambda h: jnp.sin(lax.squeeze(h[:1], (0,))), shapes=MATRIX),
    model("rev", lambda h: lax.rev(h, (0,)) * h),
    model("concatenate", lambda h: jnp.concatenate([h, h * h])),
    model("pad", lambda a, b: lax.pad(a, b[0], ((1, -1, 1),)), shapes=PAIR),
    model("slice", lambda h: lax.slice(h, (1,), (4,), (2,)) ** 2),
    model("split", lambda h: [part**2 for part in jnp.split(h, [1, 3])]),
)

# Of the newer versions of JAX.
if hasattr(lax, "tile_p"):
    SHAPES += (model("tile", lambda h: jnp.tile(h, 2) * jnp.arange(8.0)),)
if hasattr(lax, "stack_p"):
    SHAPES += (
        model("stack", lambda a, b: jnp.stack([a, b]) ** 2, shapes=PAIR),
        model("unstack", lambda h: [row**2 for row in jnp.unstack(h)], shapes=MATRIX),
    )

INDICES: tuple[PrimitiveModel, ...] = (
    model("gather", lambda h: h[np.array([2, 0, 2])] ** 2),
    model(
        "gather",
        lambda a, b: a[(10 * b[:2]).astype(jnp.int32) % 4] * b[2:],
        shapes=PAIR,
        name="gather_at_data",
    ),
    model(
        "dynamic_slice",
        lambda h: lax.dynamic_slice(h, (0, jnp.array([0, 1])[1]), (len(h), 3)) ** 2,
        whole=True,
    ),
    model(
        "dynamic_update_slice",
        lambda a, b: lax.dynamic_update_slice(
            a, b[:, :2] ** 2, (0, jnp.array([0, 1])[1])
        ),
        shapes=PAIR,
        whole=True,
    ),
    model(
        "scatter",
        lambda a, b: a.at[SOME].set(b[:2] ** 2, unique_indices=True),
        shapes=PAIR,
    ),
    model(
        "scatter-add",
        lambda a, b: a.at[np.array([1, 3, 1])].add(b[:3] ** 2),
        shapes=PAIR,
    ),
    model("scatter-sub", lambda a, b: a.at[SOME].subtract(b[:2] ** 2), shapes=PAIR),
    model(
        "scatter-mul",
        lambda a, b: a.at[SOME].multiply(b[:2], unique_indices=True),
        shapes=PAIR,
    ),
    model("scatter-min", lambda a, b: a.at[SOME].min(b[:2]), shapes=PAIR),
    model("scatter-max", lambda a, b: a.at[SOME].max(b[:2]), shapes=PAIR),
    model(
        "scatter-add",
        lambda h: jax.ops.segment_sum(h * h, np.array([1, 0, 1, 2]), 3),
        name="segment_sum",
    ),
)

MODELS: tuple[PrimitiveModel, ...] = (*REDUCTIONS, *SHAPES, *INDICES)
