"""Sums, differences, products and quotients of leaves and data, broadcast."""

from __future__ import annotations

from tests.generated.program import Shape
from tests.generated.scope import Scope, Value
from tests.generated.shapes import contain
from tests.generated.weights import weight

WITH_ANY = (
    "{h} + {w}",
    "{h} * {w}",
    "{w} + {h}",
    "{w} * {h}",
    "{h} - {w}",
    "{w} - {h}",
    "-{w} + {h}",
    "-({h} + {w})",
    "{w} / (1.5 + {h} ** 2)",
    "{h} + jnp.broadcast_to({w}, {h}.shape)",
    "{h} * ({w} + jnp.zeros({shape}))",
    "({h} - {w}) ** 2",
    "{h} * {w} + {w}",
    "jnp.where({h} > 0, {h}, {w} * {h})",
    "jnp.where({h} > 0, {h}, {w})",
    "jnp.maximum({h}, {w})",
    "jnp.tanh({h} + {w}) * {w}",
    "lax.mul({h}, lax.broadcast({w}, {h}.shape[:{missing}]))",
)
WITH_POSITIVE = (
    "{h} / {w}",
    "{h} * lax.rsqrt({w})",
    "(0.5 + {h} ** 2) ** {w}",
    "{h} / ({w} + {h} ** 2)",
    "{h} ** 2 / -{w}",
)


def shape_that_broadcasts(scope: Scope, shape: Shape) -> Shape:
    """Draws the axes that a leaf has: each whole, of one, or left out at the front."""
    sizes = [size if not scope.rarely(3) else 1 for size in shape]
    while sizes and (sizes[0] == 1 or len(sizes) > 1) and scope.flag():
        sizes.pop(0)
    return tuple(sizes)


def with_leaf(scope: Scope, value: Value) -> Value:
    positive = scope.rarely(4)
    text = scope.choose(WITH_POSITIVE if positive else WITH_ANY)
    if "{missing}" in text:
        shape = value.shape[1:] if value.rank > 1 else value.shape
    else:
        shape = shape_that_broadcasts(scope, value.shape)
    operand = weight(scope, shape, positive=positive)
    missing = scope.lead + value.rank - len(operand.shape)
    text = text.format(h=value, w=operand, shape=value.shape, missing=missing)
    return scope.let(text, value.shape)


def film(scope: Scope, value: Value) -> Value:
    """A scale and a shift, cut from one leaf."""
    features = value.shape[-1]
    both = weight(scope, (2, features))
    return scope.let(f"{value} * (1 + {both}[0]) + {both}[1]", value.shape)


def outer(scope: Scope, value: Value) -> Value:
    """A leaf with an axis of its own, broadcast against the data."""
    width = scope.size(value.shape, most=5)
    own = scope.choose(((width,), (value.shape[-1], width), (1, width)))
    sign = scope.choose(("*", "+"))
    text = f"{value}[..., None] {sign} {weight(scope, own)}"
    return contain(scope, scope.let(text, (*value.shape, width)))


def layer_norm(scope: Scope, value: Value) -> Value:
    axis = scope.choose(range(-1, -value.rank - 1, -1))
    centred = scope.let(f"{value} - {value}.mean({axis}, keepdims=True)", value.shape)
    spread = f"lax.rsqrt((({centred}) ** 2).mean({axis}, keepdims=True) + 0.1)"
    gain = weight(scope, value.shape[-1:])
    shift = weight(scope, value.shape[-1:])
    return scope.let(f"{centred} * {spread} * {gain} + {shift}", value.shape)
