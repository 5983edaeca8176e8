"""What has no leaf: activations, reductions, sorts, reshapes, residual sums."""

from __future__ import annotations

from tests.generated.scope import Scope, Value
from tests.generated.shapes import contain, join, reshape

ELEMENTWISE = (
    "jnp.tanh({h})",
    "jax.nn.relu({h})",
    "jnp.sin({h})",
    "jax.nn.gelu({h})",
    "jax.nn.softplus({h})",
    "jax.nn.sigmoid({h})",
    "jax.nn.silu({h})",
    "jax.nn.leaky_relu({h})",
    "jax.nn.elu({h})",
    "jnp.abs({h})",
    "0.5 * {h} ** 2",
    "{h} ** 3 / (1 + {h} ** 2)",
    "lax.erf({h})",
    "lax.rsqrt(1.0 + {h} ** 2)",
    "jnp.clip({h}, -0.8, 0.9)",
    "jnp.where({h} > 0.1, jnp.tanh({h}), {h})",
    "{h} * lax.stop_gradient(jnp.cos({h}))",
    "jnp.log1p(jnp.exp({h}))",
    "jnp.arctan2({h}, 1.5)",
    "jnp.logaddexp({h}, 0.2)",
)
ALONG = (
    "jax.nn.softmax({h}, axis={a})",
    "jnp.sort({h}, axis={a})",
    "jnp.cumsum({h}, axis={a})",
    "jax.nn.log_softmax({h}, axis={a})",
    "jnp.cumprod(1.0 + 0.3 * jnp.tanh({h}), axis={a})",
    "lax.cumlogsumexp({h}, axis={p})",
    "lax.cummax({h}, axis={p}, reverse=True)",
    "jnp.flip({h}, {a})",
    "jnp.roll({h}, 1, axis={a})",
    "jnp.fft.fft({h}, axis={a}).real",
    "jnp.abs(jnp.fft.fft({h} + 0.2, axis={a}) + 0.3j)",
    "{h} / jnp.sqrt(jnp.sum({h} ** 2, axis={a}, keepdims=True) + 0.2)",
    "lax.associative_scan(jnp.add, {h}, axis={p})",
    "lax.associative_scan(jnp.logaddexp, {h}, axis={p}, reverse=True)",
    "{h} - jnp.max({h}, axis={a}, keepdims=True)",
    "jnp.take_along_axis({h}, jnp.argsort(-{h}, axis={a}), axis={a})",
    "jnp.cumsum({h}[..., ::-1], axis={a})",
)
REDUCED = (
    "{h}.mean({a})",
    "{h}.sum({a})",
    "{h}.max({a})",
    "jnp.min({h}, axis={a})",
    "jax.nn.logsumexp({h}, axis={a})",
    "jnp.var({h}, axis={a})",
    "jnp.prod(1.0 + 0.2 * {h}, axis={a})",
    "jnp.sqrt(jnp.sum({h} ** 2, axis={a}) + 0.1)",
    "jnp.median({h}, axis={a})",
    "jnp.take({h}, 0, axis={a})",
)


def elementwise(scope: Scope, value: Value) -> Value:
    return scope.let(scope.choose(ELEMENTWISE).format(h=value), value.shape)


def along_an_axis(scope: Scope, value: Value) -> Value:
    axis = scope.choose(range(-1, -value.rank - 1, -1))
    positive = scope.lead + value.rank + axis
    text = scope.choose(ALONG).format(h=value, a=axis, p=positive)
    return scope.let(text, value.shape)


def reduced(scope: Scope, value: Value) -> Value:
    axis = scope.choose(range(-1, -value.rank - 1, -1))
    place = value.rank + axis
    shape = value.shape[:place] + value.shape[place + 1 :]
    return scope.let(scope.choose(REDUCED).format(h=value, a=axis), shape)


def rearranged(scope: Scope, value: Value) -> Value:
    """Transposes, merges or splits axes, or cuts a strided part."""
    kind = scope.choose(("transpose", "merge", "slice", "pad", "split"))
    if kind == "transpose" and value.rank > 1:
        order = scope.permutation(range(value.rank))
        axes = tuple(range(scope.lead)) + tuple(scope.lead + axis for axis in order)
        shape = tuple(value.shape[axis] for axis in order)
        return scope.let(f"jnp.transpose({value}, {axes})", shape)
    if kind == "merge" and value.rank > 1:
        return reshape(
            scope, value, (value.shape[0] * value.shape[1], *value.shape[2:])
        )
    if kind == "split" and value.shape[-1] > 1:
        half = value.shape[-1] // 2
        parts = scope.let(f"jnp.split({value}, [{half}], axis=-1)", (), "parts")
        text = f"jnp.concatenate([{parts}[1], jnp.tanh({parts}[0])], axis=-1)"
        return scope.let(text, value.shape)
    if kind == "pad":
        pads = [(0, 0)] * (scope.lead + value.rank - 1) + [(1, 0)]
        shape = (*value.shape[:-1], value.shape[-1] + 1)
        return scope.let(f"jnp.pad({value}, {pads})", shape)
    step = -1 if value.shape[-1] == 1 else scope.choose((-1, 2))
    size = -(-value.shape[-1] // 2) if step == 2 else value.shape[-1]
    return scope.let(f"{value}[..., ::{step}]", (*value.shape[:-1], size))


def skipped(scope: Scope, value: Value) -> Value:
    """Joins with an earlier value."""
    return contain(scope, join(scope, value, scope.choose(scope.values)))


def pooled(scope: Scope, value: Value) -> Value:
    """A window over the last axis."""
    lead = scope.lead + value.rank - 1
    window, stride = (1,) * lead + (2,), (1,) * lead + (scope.choose((1, 2)),)
    size = (value.shape[-1] - 2) // stride[-1] + 1
    start, add = scope.choose((("0.0", "lax.add"), ("-jnp.inf", "lax.max")))
    text = f"lax.reduce_window({value}, {start}, {add}, {window}, {stride}, 'VALID')"
    return scope.let(text, (*value.shape[:-1], size))


def gram(scope: Scope, value: Value) -> Value:
    """Products of data with data; the second is solved with."""
    rows = value.shape[-2]
    shape = (*value.shape[:-1], rows)
    product = f"{value} @ jnp.swapaxes({value}, -1, -2)"
    if scope.flag():
        matrix = scope.let(f"{product} + 2.0 * jnp.eye({rows})", shape)
        text = scope.choose(
            (
                f"jnp.linalg.cholesky({matrix})",
                f"jnp.linalg.solve({matrix}, {value}) @ jnp.swapaxes({value}, -1, -2)",
            )
        )
        return contain(scope, scope.let(text, shape))
    return contain(scope, scope.let(product, shape))


def scattered(scope: Scope, value: Value) -> Value:
    """Adds rows up by fixed numbers of groups, or overwrites a part."""
    rows = value.shape[0]
    ids = [scope.integer(0, 1) for _ in range(rows)]
    apply, shape = scope.choose(
        (
            (
                f"jax.ops.segment_sum(one, np.array({ids}), num_segments=2)",
                (2, *value.shape[1:]),
            ),
            ("one.at[0].set(jnp.sin(one[-1]))", value.shape),
            ("one.at[-1].add(one[0] ** 2)", value.shape),
            (
                "lax.dynamic_update_slice_in_dim(one, one[:1] * 2, "
                f"jnp.argmax(one.reshape(-1)) % {rows}, 0)",
                value.shape,
            ),
        )
    )
    body = f"(lambda one: {apply})"
    text = f"jax.vmap{body}({value})" if scope.lead else f"{body}({value})"
    return scope.let(text, shape)
