"""Functions that print as one expression each, and that expression."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.emit.functions import B, X, Y, array, indices, positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class Idiom:
    """A function and what it prints as, its arguments being `x0`, `x1`, ...

    `is_traced` says that the text traces to the function's equations; otherwise it is
    simpler, and equal bit by bit.
    """

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    text: str
    is_traced: bool = True


def _of(text: str, *arguments: Any, name: str | None = None) -> Idiom:
    """An idiom whose function is its text."""
    names = ", ".join(f"x{index}" for index in range(len(arguments)))
    function = eval(f"lambda {names}: {text}", {"jax": jax, "jnp": jnp, "lax": lax})
    return Idiom(name=name or text, function=function, arguments=arguments, text=text)


def _as(text: str, function: Callable[..., Any], *arguments: Any) -> Idiom:
    """An idiom that was written in another way."""
    return Idiom(
        name=f"other way: {text}", function=function, arguments=arguments, text=text
    )


def _simpler(text: str, function: Callable[..., Any], *arguments: Any) -> Idiom:
    return dataclasses.replace(_as(text, function, *arguments), is_traced=False)


TABLE, ROWS, SHORT = array(9, 4), indices(1, 5, limit=9), indices(2, limit=4)
PLACE = np.int32(2)
KEY = jax.random.key(3)
HALVES = array(1, 4, 8, dtype=jnp.bfloat16)
SQUARE = array(4, 4)

LOOKUPS = (
    _of("x0[x1]", TABLE, ROWS),
    _of("x0[x1]", TABLE, ROWS.astype(np.uint8), name="unsigned rows"),
    _of("x0[:, x1]", X, SHORT),
    _of("x0[:, x1, x1]", X, SHORT),
    _of("x0[0, x1]", X, SHORT),
    _of("x0[x1, x2]", X[0], SHORT, SHORT[::-1]),
    _of('x0.at[:, x1].get(mode="clip", unique_indices=True)', X, SHORT),
    _of("jnp.take(x0, x1, axis=0)", TABLE, ROWS),
    _of("jnp.take(x0, x1, axis=1)", TABLE, SHORT),
    _of('jnp.take(x0, x1, axis=0, mode="clip")', TABLE, ROWS),
    _of("jnp.take_along_axis(x0, x1, axis=1)", X, indices(1, 2, 8, limit=4)),
    _of("x0[:, x1]", X, PLACE, name="one entry"),
    _of("x0[0, x1]", X, PLACE, name="one entry of two axes"),
    _as(
        "jax.vmap(lambda rows, index: rows[index])(x0, x1)",
        jax.vmap(lambda rows, index: rows[index]),
        array(2, 4, 3),
        indices(2, 3, limit=4),
    ),
    _of("lax.dynamic_slice_in_dim(x0, x1, 2, axis=1)", X, PLACE),
    _of("lax.dynamic_slice(x0, (0, x1, x1), (1, 2, 3))", X, PLACE),
)
UPDATES = (
    _of("x0.at[:, 1].set(2.0)", X),
    _of("x0.at[:, 1:3].set(0.0)", X),
    _of("x0.at[x1].add(x2)", TABLE, SHORT, array(2, 4)),
    _of("x0.at[:, x1].add(x2)", X, SHORT, array(1, 2, 8)),
    _of("x0.at[0, x1].multiply(3.0, unique_indices=True)", X, SHORT),
    _of("x0.at[x1].min(x2)", TABLE, SHORT, array(2, 4)),
    _of('x0.at[x1].max(0.5, mode="clip")', TABLE, SHORT),
    _of("lax.dynamic_update_slice_in_dim(x0, x1, x2, axis=1)", X, X[:, :2], PLACE),
)

MASKS = (
    _of("jnp.tril(x0)", X),
    _of("jnp.tril(x0, k=-1)", X),
    _of("jnp.triu(x0, k=2)", X),
    _of("jnp.tril(jnp.ones((4, 4), dtype=jnp.bool_))"),
    _of("jnp.tri(4, 5, k=1, dtype=jnp.bool_)"),
    _of("jnp.eye(4, dtype=jnp.float32)"),
    _of("jax.nn.one_hot(x0, 5)", ROWS),
    _of("jax.nn.one_hot(x0, 5, dtype=jnp.bool_)", ROWS),
    _of("jax.nn.one_hot(x0, 5, axis=0)", ROWS),
)

ACTIVATIONS = (
    _of("jax.nn.elu(x0)", X),
    _of("jax.nn.elu(x0, 0.3)", X),
    _of("jax.nn.celu(x0, 0.5)", X),
    _of("jax.nn.selu(x0)", X),
    _of("jax.nn.leaky_relu(x0)", X),
    _of("jax.nn.leaky_relu(x0, 0.2)", X),
    _of("jax.nn.hard_tanh(x0)", X),
    _of("jax.nn.hard_sigmoid(x0)", X),
    _of("jax.nn.hard_swish(x0)", X),
    _of("jax.nn.soft_sign(x0)", X),
    _of("jax.nn.softplus(x0)", X),
    _of("jax.nn.log_sigmoid(x0)", X),
    _of("jax.nn.mish(x0)", X),
    _of("jax.nn.silu(x0)", X),
    _of("jax.nn.gelu(x0)", X),
    _of("jax.nn.gelu(x0, approximate=False)", X),
    _of("jax.nn.glu(x0)", X),
    _of("jax.nn.glu(x0, axis=1)", X),
    _of("jax.nn.relu6(x0)", X),
    _of("jax.nn.softmax(x0, axis=(1, 2))", X),
    _of("jax.nn.log_softmax(x0)", X),
    _of("jax.nn.logsumexp(x0, axis=-1)", X),
    _of("jax.nn.logsumexp(x0, axis=1, keepdims=True)", X),
    _of("jnp.sinc(x0)", X),
)

STATISTICS = (
    _of("jnp.mean(x0, axis=-1, keepdims=True)", X),
    _of("jnp.var(x0, axis=(1, 2))", X),
    _of("jnp.std(x0, axis=-1, keepdims=True)", X),
    _of("jnp.linalg.norm(x0, axis=-1)", X),
    _of("jnp.clip(x0, -0.5, 0.5)", X),
    _of("jnp.clip(x0, x1, 0.5)", X, B),
    _of("jax.nn.standardize(x0, epsilon=0.001)", X),
    _of("jnp.sum(x0, axis=1)", HALVES),
    _of("jnp.prod(x0, axis=-1, dtype=jnp.int32)", ROWS),
    _as("jnp.var(x0, axis=-1)", jax.vmap(jnp.var), array(3, 4)),
)

ARRANGEMENTS = (
    _of("jnp.sort(x0, axis=1)", X),
    _of("jnp.argsort(x0)", X),
    _of("jnp.argmax(x0, axis=1)", X),
    _of("jnp.cumsum(x0, axis=1)", X),
    _of("jnp.cumprod(x0, axis=-1)", X),
    _of("jnp.repeat(x0, 2, axis=1)", X),
    _of("jnp.repeat(x0, 3, axis=-1)", X),
    _of("jnp.roll(x0, 1, axis=1)", X),
    _of("jnp.roll(x0, -3, axis=-1)", X),
    _of("jnp.linspace(-0.1, 0.3, 4, dtype=jnp.float32)"),
    _of("jnp.pad(x0, ((0, 0), (1, 2), (0, 0)), constant_values=1.5)", X),
    _of("x0 // 3", ROWS),
    _of("x0 % x1", ROWS, ROWS + 1),
    _of("x0 >> 1", ROWS),
    _of("x0 << 1", ROWS.astype(np.uint32)),
)

PRODUCTS = (
    _of('jnp.einsum("bqhd,bkhd->bhqk", x0, x1)', *(array(1, 3, 2, 4),) * 2),
    _of('jnp.einsum("bhqk,bkhd->bqhd", x0, x1)', array(1, 2, 5, 3), array(1, 3, 2, 4)),
    _of('jnp.einsum("bsd,dhk->bshk", x0, x1)', X, array(8, 2, 3)),
    _of("x0 @ x1.transpose(0, 2, 1)", X, Y),
    _simpler("x0.reshape(1, 32)", lambda x: x.transpose(0, 1, 2).reshape(1, 32), X),
    _simpler("x0", lambda x: x.T.T, SQUARE),
    _of('jnp.matmul(x0, x1, precision="highest")', X, array(8, 3)),
)

SOLUTIONS = (
    _of("jnp.linalg.solve(x0, x1)", SQUARE, array(4, 2)),
    _of("jnp.linalg.solve(x0, x1)", SQUARE, array(4), name="solve for one side"),
    _of("jnp.linalg.inv(x0)", SQUARE),
)

DRAWS = (
    _of("jax.random.normal(x0, (3, 2), dtype=jnp.float32)", KEY),
    _of("jax.random.uniform(x0, (3,), dtype=jnp.float32)", KEY),
    _of(
        "jax.random.uniform(x0, (3,), dtype=jnp.float32, minval=-1.0, maxval=2.0)", KEY
    ),
    _of("jax.random.bernoulli(x0, 0.3, (3,))", KEY),
)

WINDOWS = (
    _of(
        'lax.reduce_window(x0, -jnp.inf, lax.max, (1, 3), (1, 2), "SAME")', array(2, 8)
    ),
    _of(
        "lax.reduce_window(\n"
        '    x0, 0.0, lax.add, (1, 2), (1, 1), "SAME", window_dilation=(1, 2)\n'
        ")",
        array(2, 8),
        name="dilated window",
    ),
)

LOOPS = (
    _as(
        "def step(i, h):\n    return jnp.sin(h) + i.astype(jnp.float32)\n\n"
        "h0 = lax.fori_loop(0, 4, step, x0)",
        lambda x: lax.fori_loop(0, 4, lambda i, h: jnp.sin(h) + i, x),
        X,
    ),
)

FUNCTIONS = (
    _of("jnp.floor(x0)", X),
    _of("jnp.round(x0)", X),
    _of("jnp.sign(x0)", X),
    _of("jnp.arcsin(x0)", positive(3)),
    _of("jnp.arctan2(x0, x1)", X, Y),
    _simpler("x0", lambda x: (x - 0.0) * 1.0, X),
    _as("x0 + 0.0", lambda x: x + 0.0, X),
    _simpler("x0", lambda i: 1 * (0 + i), ROWS),
    _simpler("x0 * 6.0", lambda x: x * (jnp.float32(2.0) * 3.0), X),
)

IDIOMS = (
    *LOOKUPS,
    *UPDATES,
    *MASKS,
    *ACTIVATIONS,
    *STATISTICS,
    *ARRANGEMENTS,
    *PRODUCTS,
    *SOLUTIONS,
    *DRAWS,
    *WINDOWS,
    *LOOPS,
    *FUNCTIONS,
)
