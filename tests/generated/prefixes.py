"""What models do to a leaf before it meets data, as expressions of a wanted shape."""

from __future__ import annotations

import math
from collections.abc import Callable

from tests.generated.program import Shape
from tests.generated.scope import Scope, Value

Operand = Callable[[Shape], Value]
Prefix = Callable[[Scope, Shape, Operand], str]


def applicable(shape: Shape) -> list[Prefix]:
    """Returns the prefixes that can end in a shape, the simplest first."""
    found: list[Prefix] = [scaled, nonlinear, of_two, stopped, picked, masked]
    if shape:
        found += [
            transposed,
            reshaped,
            sliced,
            reverse,
            padded,
            concatenated,
            broadcast,
            with_entries_set,
            permuted,
            normalised,
            accumulated,
            repeated,
        ]
    if len(shape) >= 2:
        found += [multiplied, low_rank, weight_normalised, spectrally_normalised]
    if len(shape) == 2 and shape[0] == shape[1]:
        found += [symmetric, diagonal]
    return found


def axis_of(scope: Scope, shape: Shape) -> int:
    return scope.integer(0, len(shape) - 1)


def along(axis: int, index: str) -> str:
    """Returns the subscript that has an index on one axis: `[:, 1:3]`."""
    return "[" + ":, " * axis + index + "]"


def with_size(shape: Shape, axis: int, size: int) -> Shape:
    return (*shape[:axis], size, *shape[axis + 1 :])


def transposed(scope: Scope, shape: Shape, operand: Operand) -> str:
    axes = scope.permutation(range(len(shape)))
    inner = [0] * len(shape)
    for place, axis in enumerate(axes):
        inner[axis] = shape[place]
    return f"jnp.transpose({operand(tuple(inner))}, {tuple(axes)})"


def reshaped(scope: Scope, shape: Shape, operand: Operand) -> str:
    flat = (math.prod(shape),)
    options = [flat, (*shape, 1), (1, *shape)]
    if len(shape) > 1:
        options += [(shape[0] * shape[1], *shape[2:]), shape[::-1]]
    return f"{operand(scope.choose(options))}.reshape({shape})"


def sliced(scope: Scope, shape: Shape, operand: Operand) -> str:
    axis = axis_of(scope, shape)
    before, after = scope.integer(0, 2), scope.integer(0, 1)
    size = shape[axis]
    kind = scope.choose(("plain", "strided", "lax", "dynamic"))
    if kind == "strided":
        whole = operand(with_size(shape, axis, before + 2 * size))
        return f"{whole}{along(axis, f'{before}::2')}"
    whole = operand(with_size(shape, axis, before + size + after))
    if kind == "lax":
        return f"lax.slice_in_dim({whole}, {before}, {before + size}, axis={axis})"
    if kind == "dynamic":
        return f"lax.dynamic_slice_in_dim({whole}, {before}, {size}, axis={axis})"
    return f"{whole}{along(axis, f'{before}:{before + size}')}"


def picked(scope: Scope, shape: Shape, operand: Operand) -> str:
    """One row of a stack of weights."""
    axis = scope.integer(0, len(shape))
    count = scope.choose((2, 3))
    whole = operand((*shape[:axis], count, *shape[axis:]))
    return f"{whole}{along(axis, str(scope.integer(-1, count - 1)))}"


def reverse(scope: Scope, shape: Shape, operand: Operand) -> str:
    return f"jnp.flip({operand(shape)}, {axis_of(scope, shape)})"


def permuted(scope: Scope, shape: Shape, operand: Operand) -> str:
    axis = axis_of(scope, shape)
    order = scope.permutation(range(shape[axis]))
    return f"{operand(shape)}{along(axis, f'np.array({order})')}"


def padded(scope: Scope, shape: Shape, operand: Operand) -> str:
    axis = axis_of(scope, shape)
    low = scope.integer(0, min(1, shape[axis] - 1))
    if scope.rarely(3):
        # A negative padding cuts off what is too long.
        longer = operand(with_size(shape, axis, shape[axis] - low + 2))
        config = [(0, 0, 0)] * len(shape)
        config[axis] = (low, -2, 0)
        return f"lax.pad({longer}, 0.3, {config})"
    high = scope.integer(0, min(1, shape[axis] - 1 - low))
    inner = operand(with_size(shape, axis, shape[axis] - low - high))
    pads = [(0, 0)] * len(shape)
    pads[axis] = (low, high)
    fill = scope.choose(("", ", constant_values=0.3", ", mode='edge'"))
    return f"jnp.pad({inner}, {pads}{fill})"


def concatenated(scope: Scope, shape: Shape, operand: Operand) -> str:
    axis = axis_of(scope, shape)
    if shape[axis] == 1:
        return f"jnp.stack([{operand(with_out(shape, axis))}], axis={axis})"
    first = scope.integer(1, shape[axis] - 1)
    parts = [first, shape[axis] - first]
    texts = [str(operand(with_size(shape, axis, size))) for size in parts]
    if scope.rarely(3):
        texts[0] = f"jnp.zeros({with_size(shape, axis, first)})"
    return f"jnp.concatenate([{', '.join(texts)}], axis={axis})"


def with_out(shape: Shape, axis: int) -> Shape:
    return shape[:axis] + shape[axis + 1 :]


def broadcast(scope: Scope, shape: Shape, operand: Operand) -> str:
    axis = axis_of(scope, shape)
    inner = with_size(shape, axis, 1)
    while scope.flag() and inner and inner[0] == 1:
        inner = inner[1:]
    return f"jnp.broadcast_to({operand(inner)}, {shape})"


def repeated(scope: Scope, shape: Shape, operand: Operand) -> str:
    axis = axis_of(scope, shape)
    inner = operand(with_size(shape, axis, 1))
    if scope.flag():
        return f"jnp.repeat({inner}, {shape[axis]}, axis={axis})"
    times = [1] * len(shape)
    times[axis] = shape[axis]
    return f"jnp.tile({inner}, {times})"


def with_entries_set(scope: Scope, shape: Shape, operand: Operand) -> str:
    axis = axis_of(scope, shape)
    index = along(axis, str(scope.integer(0, shape[axis] - 1)))
    verb, value = scope.choose(
        (("set", "0.0"), ("add", "0.3"), ("multiply", "0.6"), ("set", "leaf"))
    )
    if value == "leaf":
        value = str(operand(with_out(shape, axis)))
    return f"{operand(shape)}.at{index}.{verb}({value})"


def scaled(scope: Scope, shape: Shape, operand: Operand) -> str:
    text = scope.choose(("0.7 * {}", "-{}", "{} / 1.3", "0.4 - {}", "constant"))
    if text == "constant":
        return f"{operand(shape)} * {scope.constant(shape)}"
    return text.format(operand(shape))


def masked(scope: Scope, shape: Shape, operand: Operand) -> str:
    mask = scope.constant(shape)
    return f"jnp.where({mask} > 0, {operand(shape)}, 0.1)"


def of_two(scope: Scope, shape: Shape, operand: Operand) -> str:
    sign = scope.choose(("+", "*", "-"))
    return f"{operand(shape)} {sign} {operand(shape)}"


def stopped(scope: Scope, shape: Shape, operand: Operand) -> str:
    first = operand(shape)
    return f"{first} * lax.stop_gradient({first}) + {operand(shape)}"


def nonlinear(scope: Scope, shape: Shape, operand: Operand) -> str:
    text = scope.choose(
        ("jnp.exp(0.5 * {})", "jax.nn.softplus({})", "jnp.tanh({})", "{} ** 2")
    )
    return text.format(operand(shape))


def accumulated(scope: Scope, shape: Shape, operand: Operand) -> str:
    axis = axis_of(scope, shape)
    name = scope.choose(("jnp.cumsum", "jnp.sort", "jax.nn.softmax"))
    return f"{name}({operand(shape)}, axis={axis})"


def normalised(scope: Scope, shape: Shape, operand: Operand) -> str:
    axis = axis_of(scope, shape)
    inner = operand(shape)
    mean = f"{inner}.mean({axis}, keepdims=True)"
    spread = f"jnp.sqrt({inner}.var({axis}, keepdims=True) + 0.1)"
    return f"({inner} - {mean}) / {spread}"


def weight_normalised(scope: Scope, shape: Shape, operand: Operand) -> str:
    inner, gain = operand(shape), operand(shape[-1:])
    axes = tuple(range(len(shape) - 1))
    return f"{gain} * {inner} / jnp.sqrt(jnp.sum({inner} ** 2, axis={axes}) + 0.05)"


def spectrally_normalised(scope: Scope, shape: Shape, operand: Operand) -> str:
    """Two steps of a power iteration, through which the gradient flows."""
    inner = operand(shape)
    rows = f"{inner}.reshape(-1, {shape[-1]})"
    step = f"lambda _, u: {rows}.T @ ({rows} @ u) + 0.1 * u"
    start = f"jnp.ones({shape[-1]})"
    vector = scope.let(f"lax.fori_loop(0, 2, {step}, {start})", shape[-1:], "u")
    norm = f"jnp.sqrt(jnp.sum(({rows} @ {vector}) ** 2) + 0.1)"
    return f"{inner} / ({norm} / jnp.sqrt(jnp.sum({vector} ** 2)))"


def multiplied(scope: Scope, shape: Shape, operand: Operand) -> str:
    """A product with a constant matrix, from the left or on the last axis."""
    inner = operand(shape)
    if scope.flag():
        return f"{inner} @ {scope.constant((shape[-1], shape[-1]))}"
    fixed = scope.constant((shape[0], shape[0]))
    return f"jnp.tensordot({fixed}, {inner}, 1)"


def low_rank(scope: Scope, shape: Shape, operand: Operand) -> str:
    rank = scope.choose((1, 2))
    left, right = operand((*shape[:-1], rank)), operand((rank, shape[-1]))
    if scope.rarely(3):
        return f"{left} @ {right}"
    return f"{operand(shape)} + 0.5 * ({left} @ {right})"


def symmetric(scope: Scope, shape: Shape, operand: Operand) -> str:
    inner = operand(shape)
    text = scope.choose(("{0} + {0}.T", "jnp.triu({0})", "{0} - {0}.T", "{0} @ {0}"))
    return text.format(inner)


def diagonal(scope: Scope, shape: Shape, operand: Operand) -> str:
    return f"jnp.diag({operand(shape[:1])})"
