"""Small functions, at least one for every family of primitives that is printed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.ad_checkpoint import checkpoint_name

BOTH = ("forward", "reverse")
_TABLE = np.linspace(-1.0, 1.0, 24, dtype=np.float32).reshape(8, 3)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Function:
    """A function and the arguments that it is tested on.

    `tolerance` is not zero only where a different order of summation is legitimate.
    """

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    modes: tuple[str, ...] = BOTH
    tolerance: float = 1e-6
    text: str | None = None


def array(*shape: int, seed: int = 0, dtype: Any = np.float32) -> np.ndarray:
    numbers = np.random.default_rng(seed + sum(shape)).normal(size=shape)
    return numbers.astype(dtype)


def positive(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return (np.abs(array(*shape, dtype=np.float64)) / 4 + 0.2).astype(dtype)


def indices(*shape: int, limit: int) -> np.ndarray:
    numbers = np.random.default_rng(3).integers(0, limit, size=shape)
    return numbers.astype(np.int32)


@jax.custom_jvp
def _cube(x, scale):
    return scale * x**3


@_cube.defjvp
def _cube_jvp(primals, tangents):
    (x, scale), (dx, _) = primals, tangents
    return _cube(x, scale), 2.5 * scale * x**2 * dx


@jax.custom_vjp
def _clipped(x, y):
    return jnp.sin(x) * y, x + y


def _clipped_fwd(x, y):
    return _clipped(x, y), (x, y)


def _clipped_bwd(residuals, cotangents):
    x, y = residuals
    first, second = cotangents
    return jnp.clip(first * jnp.cos(x) * y, -0.5, 0.5), second + first * jnp.sin(x)


_clipped.defvjp(_clipped_fwd, _clipped_bwd)


@jax.custom_vjp
def _straight_through(x):
    return jnp.round(x)


_straight_through.defvjp(lambda x: (jnp.round(x), None), lambda _, g: (g,))


def _of(name: str, function: Any, *arguments: Any, **options: Any) -> Function:
    return Function(name=name, function=function, arguments=arguments, **options)


X, Y, W, B = array(1, 4, 8), array(1, 4, 8, seed=1), array(8, 8), array(8)

ELEMENTWISE = (
    _of("add", lambda x, y: x + y, X, Y, text="h0 = x0 + x1"),
    _of("arithmetic", lambda x, y: (x - y) * x / (y * y + 2.0), X, Y),
    _of("add_bias", lambda x, b: x + b, X, B, text="h0 = x0 + x1"),
    _of("scalar", lambda x, s: s * x - s, X, np.float32(0.3)),
    _of(
        "negated_number",
        lambda x: lax.neg(np.float32(2.0)) * x,
        X,
        text="h0 = -2.0 * x0",
    ),
    _of("row_times_column", lambda x, y: x[:, :, None] * y[:, None], X[0], Y[0]),
    _of("powers", lambda x: x**3 + x**2 + (x + 9.0) ** -2, X),
    _of("power_of_number", lambda x: 10000.0**x, X / 9, text="h0 = 10000.0**x0"),
    _of("real_powers", lambda x, y: x**2.5 + x**y, positive(1, 4), array(1, 4)),
    _of("maximum", lambda x: jnp.maximum(x, 0.0), X, text="h0 = jnp.maximum(x0, 0.0)"),
    _of("minimum", lambda x, y: jnp.minimum(x, y), X, Y),
    _of("exponentials", lambda x: jnp.exp(x) + jnp.expm1(x) + jnp.exp2(x), X),
    _of("logarithms", lambda x: jnp.log(x) + jnp.log1p(x), positive(1, 5)),
    _of("circular", lambda x: jnp.sin(x) + jnp.cos(x) * jnp.tan(x), X),
    _of("arcs", lambda x: jnp.arcsin(x) + jnp.arccos(x) - jnp.arctan(x), positive(3)),
    _of("hyperbolic", lambda x: jnp.sinh(x) + jnp.cosh(x) + jnp.tanh(x), X),
    _of("areas", lambda x: jnp.arcsinh(x) + jnp.arctanh(x), positive(3)),
    _of("arccosh", lambda x: jnp.arccosh(x + 1.5), positive(3)),
    _of("arctan2", lambda x, y: jnp.arctan2(x, y), X, Y),
    _of("roots", lambda x: jnp.sqrt(x) + lax.rsqrt(x) + jnp.cbrt(x), positive(1, 5)),
    _of("square", lambda x: jnp.square(x) - jnp.abs(x) * jnp.sign(x), X),
    _of("error_functions", lambda x: lax.erf(x) + lax.erfc(x), X),
    _of("erf_inv", lambda x: lax.erf_inv(x), positive(1, 5)),
    _of("sigmoid", jax.nn.sigmoid, X, text="h0 = jax.nn.sigmoid(x0)"),
    _of("gamma", lambda x: lax.lgamma(x) + lax.digamma(x), positive(1, 5)),
    _of("bessel", lambda x: lax.bessel_i0e(x) + lax.bessel_i1e(x), X),
    _of("rounding", lambda x: jnp.floor(x) + jnp.ceil(x) * x + jnp.round(x), X),
    _of("remainder", lambda x: lax.rem(x, 0.7), X),
    _of("clamp", lambda x: lax.clamp(-0.5, x, 0.5), X),
    _of("clip", lambda x: jnp.clip(x, -0.5, 0.5), X),
    _of(
        "where", lambda x, y: jnp.where(x > 0.1, x, 0.0) + jnp.where(x < y, y, x), X, Y
    ),
    _of("where_is_nan", lambda x: jnp.where(x == 0.0, jnp.nan, x), X),
    _of(
        "select_one_of_three",
        lambda i, x, y: lax.select_n(i, x, y, x * y),
        indices(1, 4, 8, limit=3),
        X,
        Y,
    ),
    _of(
        "logic",
        lambda x, y: jnp.where((x > 0) & ~(y > 0) | (x >= y) ^ (x != y), x, y),
        X,
        Y,
    ),
    _of("casts", lambda x: x.astype(jnp.bfloat16).astype(jnp.float32) * 2.0, X),
    _of("cast_of_a_condition", lambda x: (x > 0).astype(jnp.float32) * x, X),
    _of(
        "bits",
        lambda i: (i << 2) + (i >> 1) - lax.population_count(i) + lax.rem(i, 5) // 2,
        indices(1, 6, limit=90),
    ),
    _of(
        "unsigned",
        lambda i: (i ^ jnp.uint32(4294967295)) * jnp.uint32(2654435769),
        indices(1, 6, limit=90).astype(np.uint32),
    ),
    _of("bitcast", lambda x: lax.bitcast_convert_type(x, jnp.int32), X),
    _of("half_numbers", lambda x: x * 0.1 + 1e-3, array(1, 4, dtype=jnp.bfloat16)),
    _of("odd_numbers", lambda x: x * 0.044715 + 1e-12 - np.float32(1 / 3), X),
    _of("infinite", lambda x: jnp.maximum(x, -jnp.inf), X),
    _of("negative_zero", lambda x: x * -0.0 + lax.full_like(x, -0.0), X),
    _of("stop_gradient", lambda x: lax.stop_gradient(x) * x, X),
    _of("reduce_precision", lambda x: lax.reduce_precision(x, 8, 7), X),
    _of("barrier", lambda x, y: lax.optimization_barrier((x * 2, y)), X, Y),
    _of("named", lambda x: checkpoint_name(x * 2.0, "mine") + x, X),
    _of("constant_only", lambda x: jnp.sin(jnp.float32(2.0)) * jnp.ones((4, 1)) + x, X),
    _of(
        "complex",
        lambda x, y: jnp.abs(lax.complex(x, y) * (0.5 + 2j)) + jnp.angle(1j * x + y),
        X,
        Y,
    ),
)

SHAPES = (
    _of("reshape", lambda x: x.reshape(1, -1) * 2.0, X, text="h0 = x0.reshape(1, 32)"),
    _of("flatten_to_vector", lambda x: x.reshape(-1), X),
    _of("transposes", lambda x: x.transpose(0, 2, 1) + 1.0, X),
    _of("squeeze", lambda x: x.squeeze(0).T, X, text="h0 = x0.squeeze(0).T"),
    _of("insert_axes", lambda x: x[:, None] * x[..., None, :], X),
    _of("broadcast_to", lambda b: jnp.broadcast_to(b, (3, 8)), B),
    _of("broadcast_twice", lambda b: jnp.cos(jnp.broadcast_to(b, (1, 4, 8))) * b, B),
    _of("slices", lambda x: x[:, 1:3] + x[:, :-2, ::1] - x[:, 2:], X),
    _of("strided_slice", lambda x: lax.slice(x, (0, 1, 0), (1, 4, 8), (1, 2, 3)), X),
    _of("first_and_last", lambda x: x[:, 0] + x[:, -1], X),
    _of("first_position", lambda x: x[:, 0], X, text="h0 = x0[:, 0]"),
    _of("concatenate", lambda x, y: jnp.concatenate([x, y, x], axis=1), X, Y),
    _of("stack", lambda x, y: jnp.stack([x, y], axis=1), X, Y),
    _of("split", lambda x: sum(jnp.split(x, 4, axis=-1)), X),
    _of("tile", lambda x: jnp.tile(x, (1, 2, 1)), X),
    _of("pad", lambda x: jnp.pad(x, ((0, 0), (1, 2), (0, 0))), X),
    _of(
        "pad_with_gaps",
        lambda x: lax.pad(x, np.float32(1.5), ((0, 0, 0), (-1, 2, 0), (0, 1, 2))),
        X,
    ),
    _of("flip", lambda x: jnp.flip(x, 1) + jnp.flip(x, (1, 2)), X),
    _of(
        "iota",
        lambda x: x * jnp.arange(8) + lax.broadcasted_iota(x.dtype, x.shape, 1),
        X,
    ),
    _of("roll", lambda x: jnp.roll(x, 3, axis=1), X),
    _of("repeat", lambda x: jnp.repeat(x, 2, axis=1), X),
    _of("triangle", lambda x: jnp.tril(x), X),
    _of("resize", lambda x: jax.image.resize(x, (1, 8, 4), "bilinear"), X),
)

REDUCTIONS = (
    _of("sum", lambda x: x.sum(-1) + x.sum(), X),
    _of("keepdims", lambda x: x - x.max(axis=1, keepdims=True), X),
    _of("extremes", lambda x: x.max((1, 2)) - x.min() + x.prod(), X),
    _of("sum_of_halves", lambda x: x.sum(1), array(1, 4, 8, dtype=jnp.bfloat16)),
    _of("sum_of_integers", lambda i: i.sum(1) + i.prod(1), indices(1, 4, limit=5)),
    _of("all_any", lambda x: jnp.all(x > 0, 1) | jnp.any(x < -1, 1), X),
    _of("argmax", lambda x: jnp.argmax(x, 1) + jnp.argmin(x, -1).max(), X),
    _of("cumulative", lambda x: jnp.cumsum(x, 1) * jnp.cumprod(x, 2), X),
    _of(
        "cumulative_max", lambda x: lax.cummax(x, 1) + lax.cummin(x, 1, reverse=True), X
    ),
    _of("cumlogsumexp", lambda x: lax.cumlogsumexp(x, axis=1), X),
    _of("mean", lambda x: jnp.mean(x, axis=(1, 2)) * x, X),
    _of("variance", lambda x: jnp.var(x, axis=-1, keepdims=True) + jnp.std(x), X),
    _of("sort", lambda x: jnp.sort(x, axis=1), X),
    _of("sort_pairs", lambda x, y: lax.sort((x, y), num_keys=1), X, Y),
    _of("median", lambda x: jnp.median(x, axis=1), X),
    _of("top_k", lambda x: lax.top_k(x, 2)[0], X),
    _of("logsumexp", lambda x: jax.nn.logsumexp(x, axis=-1), X),
    _of("norm", lambda x: x / jnp.linalg.norm(x, axis=-1, keepdims=True), X),
    *(
        _of(
            f"pool_{name}",
            lambda x, operation=operation, start=start: lax.reduce_window(
                x, start, operation, (1, 2, 2, 1), (1, 2, 1, 1), "SAME"
            ),
            array(1, 5, 4, 2),
        )
        for name, operation, start in (
            ("max", lax.max, -np.inf),
            ("min", lax.min, np.inf),
            ("sum", lax.add, 0.0),
        )
    ),
    _of(
        "pool_halves",
        lambda x: lax.reduce_window(x, -np.inf, lax.max, (1, 2), (1, 2), "VALID"),
        array(1, 6, dtype=jnp.bfloat16),
    ),
    _of(
        "pool_dilated",
        lambda x: lax.reduce_window(
            x, 0.0, lax.add, (1, 2), (1, 1), ((0, 0), (1, 0)), window_dilation=(1, 2)
        ),
        array(1, 6),
    ),
)
