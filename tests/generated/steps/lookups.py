"""Look-ups in leaves by tokens, by what the data says, and by one-hot products."""

from __future__ import annotations

from tests.generated.scope import Scope, Value
from tests.generated.shapes import contain, join
from tests.generated.weights import weight


def indices(scope: Scope, value: Value) -> tuple[Value, int]:
    """Returns integers that depend on the example, and their bound."""
    tokens = scope.model.tokens
    if tokens is not None and not scope.rarely(4):
        if scope.flag():
            return tokens, scope.model.vocabulary
        part = scope.choose(("[..., 0]", "[..., ::2]", "[..., :1]"))
        length = {"[..., 0]": (), "[..., :1]": (1,)}.get(
            part, (-(-tokens.shape[0] // 2),)
        )
        return scope.let(f"{tokens}{part}", length, "i"), scope.model.vocabulary
    if scope.flag() and value.shape[-1] > 1:
        found = scope.let(f"jnp.argmax({value}, axis=-1)", value.shape[:-1], "i")
        return found, value.shape[-1]
    bound = scope.size(most=5)
    text = f"jnp.abs(100 * {value}[..., 0]).astype(int) % {bound}"
    return scope.let(text, value.shape[:-1], "i"), bound


def table(scope: Scope, value: Value) -> Value:
    """One index, on any axis of the table."""
    index, bound = indices(scope, value)
    width = scope.size(index.shape, most=5)
    rows, columns = (bound, width), (width, bound)
    shape, text = scope.choose(
        (
            (rows, "{w}[{i}]"),
            (rows, "jnp.take({w}, {i}, axis=0)"),
            (rows, "jnp.take({w}, {i}, axis=0, mode='clip')"),
            (rows, "{w}.at[{i}].get(mode='promise_in_bounds')"),
            (rows, "{w}[{i} - {bound}]"),
            (rows, "{w}[({i} + 1) % {bound}]"),
            (rows, "jnp.take({w}, {i} + 1, axis=0, mode='clip')"),
            (rows, "{w}.at[{i} + 1].get(mode='fill', fill_value=0.2)"),
            (rows, "{w}[{i}, ::-1]"),
            (rows, "jax.nn.one_hot({i}, {bound}, dtype={w}.dtype) @ {w}"),
            (columns, "jnp.moveaxis({w}[:, {i}], 0, -1)"),
            (columns, "jnp.take({w}, {i}, axis=1, mode='wrap').swapaxes(0, -1)"),
            (columns, "{w}.T[{i}]"),
            (columns, "jax.nn.one_hot({i}, {bound}, dtype={w}.dtype) @ {w}.T"),
        )
    )
    if "swapaxes" in text and scope.lead + index.rank != 1:
        text = "jnp.moveaxis({w}.take({i}, axis=1), 0, -1)"
    leaf = weight(scope, shape)
    found = text.format(w=leaf, i=index, bound=bound)
    looked_up = scope.let(found, (*index.shape, width))
    return contain(scope, join(scope, value, looked_up))


def two_indices(scope: Scope, value: Value) -> Value:
    """Single entries, by two arrays of indices."""
    index, bound = indices(scope, value)
    width = scope.size(index.shape, most=3)
    leaf = weight(scope, (bound, width, 2))
    other = scope.choose((f"{index} % {width}", "0", f"({index} * 2) % {width}"))
    text = scope.choose(("{w}[{i}, {j}]", "{w}[{i}, {j}, 1][..., None]"))
    size = 1 if "None" in text else 2
    found = scope.let(text.format(w=leaf, i=index, j=other), (*index.shape, size))
    return contain(scope, join(scope, value, found))


def window(scope: Scope, value: Value) -> Value:
    """A slice of a leaf that starts where the data says."""
    bound, width = scope.choose((2, 3)), scope.size(most=3)
    leaf = weight(scope, (bound + 1, width))
    axes = "".join("[0]" for _ in range(value.rank))
    start = f"jnp.abs(100 * one{axes}).astype(int) % {bound}"
    cut = scope.choose(
        (
            f"lax.dynamic_slice({leaf}, ({start}, 0), (2, {width}))",
            f"lax.dynamic_slice_in_dim({leaf}, {start}, 2, axis=0)",
            f"jnp.stack([lax.dynamic_index_in_dim({leaf}, {start}, 0, False)] * 2)",
        )
    )
    body = f"(lambda one: {cut})"
    text = f"jax.vmap{body}({value})" if scope.lead else f"{body}({value})"
    found = scope.let(text, (2, width))
    return contain(scope, join(scope, value, found))
