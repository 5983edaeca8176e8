"""Brings values to the shapes that a place in a model asks for."""

from __future__ import annotations

import math

from tests.generated.program import Shape
from tests.generated.scope import Scope, Value
from tests.generated.weights import weight

LARGEST = 60


def appended(scope: Scope, value: Value, sizes: str) -> str:
    """Returns the shape `value` has with its own axes replaced by some sizes."""
    if not scope.lead:
        return f"({sizes},)" if sizes else "()"
    return f"({value}.shape[0], {sizes})" if sizes else f"({value}.shape[0],)"


def reshape(scope: Scope, value: Value, shape: Shape) -> Value:
    """Gives a value other axes of its own."""
    sizes = ", ".join(map(str, shape))
    return scope.let(f"{value}.reshape({appended(scope, value, sizes)})", shape)


def contain(scope: Scope, value: Value) -> Value:
    """Shrinks a value that would make what comes after it expensive."""
    while value.size > LARGEST or value.rank > 4:
        axis = max(range(value.rank), key=lambda axis: value.shape[axis])
        shape = value.shape[:axis] + value.shape[axis + 1 :]
        value = scope.let(f"{value}.mean({axis - value.rank})", shape)
    return value


def vector(scope: Scope, value: Value, most: int = 10) -> Value:
    """Returns a value of one axis."""
    if value.rank == 1:
        return value
    if value.rank == 0:
        return scope.let(f"{value}[..., None]", (1,))
    if value.size <= most:
        return reshape(scope, value, (value.size,))
    axes = tuple(range(1 - value.rank - 1, -1))
    return scope.let(f"{value}.mean({axes})", value.shape[-1:])


def fit(scope: Scope, value: Value, shape: Shape) -> Value:
    """Returns a value of the given shape, through a weight where there is room."""
    if value.shape == shape:
        return value
    flat = vector(scope, value)
    target = shape if flat.size * math.prod(shape) <= scope.model.room else shape[-1:]
    if not shape:
        return scope.let(f"{flat}.mean(-1)", ())
    kernel = weight(scope, (flat.size, *target))
    letters = "bcdefgh"[: len(target)]
    text = f'jnp.einsum("...a,a{letters}->...{letters}", {flat}, {kernel})'
    value = scope.let(text, target)
    if target != shape:
        spread = f"[..., {'None, ' * (len(shape) - 1)}:]"
        value = scope.let(f"{value}{spread} + jnp.zeros({shape})", shape)
    return value


def join(scope: Scope, first: Value, second: Value) -> Value:
    """Returns one value that depends on both."""
    if first.shape == second.shape:
        signs = "+*" if first == second else "+*-"
        return scope.let(f"{first} {scope.choose(signs)} {second}", first.shape)
    if (
        scope.flag()
        and first.rank
        and first.size * max(second.shape[-1:], default=1) <= 24
    ):
        other = vector(scope, second, most=4)
        outer = f"{first}[..., None] * {other}[..., {'None, ' * first.rank}:]"
        return scope.let(outer, (*first.shape, *other.shape))
    first, second = vector(scope, first), vector(scope, second)
    text = f"jnp.concatenate([{first}, {second}], axis=-1)"
    return scope.let(text, (first.size + second.size,))
