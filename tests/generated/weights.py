"""Weights: leaves, and what models make of leaves before these meet data."""

from __future__ import annotations

import math
from collections.abc import Callable

from tests.generated import prefixes
from tests.generated.program import Shape
from tests.generated.scope import Scope, Value

_MOST_PREFIXES = 2


def weight(
    scope: Scope, shape: Shape, *, positive: bool = False, depth: int = 0
) -> Value:
    """Returns a data-free value of a shape: a leaf or an expression of leaves.

    Args:
        scope: Where it is used.
        shape: Its shape.
        positive: Whether it must be safe to divide by.
        depth: How many prefixes stand between it and its use.
    """
    shape = tuple(shape)
    if positive:
        return _positive(scope, shape, depth)
    ways: list[Callable[[Scope, Shape, int], Value | None]] = [_new]
    ways += [_new] * 3 + [_again]
    if scope.loop is not None:
        ways += [_scanned] * 3 if scope.loop.scanned is not None else [_indexed] * 3
    if depth < _MOST_PREFIXES:
        ways += [_prefixed] * 4
    made = scope.choose(ways)(scope, shape, depth)
    if made is None and math.prod(shape) > max(scope.model.room, 12):
        made = _again(scope, shape, depth) or _small(scope, shape)
    return made or _new(scope, shape, depth)


def _new(scope: Scope, shape: Shape, depth: int) -> Value | None:
    del depth
    if math.prod(shape) > max(scope.model.room, 12):
        return None
    return scope.leaf(shape)


def _small(scope: Scope, shape: Shape) -> Value:
    """Returns a leaf that varies along one axis only, where there is no room."""
    leaf = scope.leaf(shape[-1:])
    return scope.let(f"jnp.broadcast_to({leaf}, {shape})", shape, "v")


def _again(scope: Scope, shape: Shape, depth: int) -> Value | None:
    """Ties: takes what has the same sizes, transposed if need be."""
    del depth
    found = [w for w in scope.weights if sorted(w.shape) == sorted(shape)]
    if not found:
        return None
    chosen = scope.choose(found)
    axes = _axes_between(chosen.shape, shape)
    if axes == tuple(range(len(shape))):
        return chosen
    return scope.let(f"jnp.transpose({chosen}, {axes})", shape, "v")


def _axes_between(have: Shape, want: Shape) -> tuple[int, ...]:
    """Returns a permutation that brings the one shape into the other."""
    left = list(range(len(have)))
    axes = []
    for size in want:
        axis = next(axis for axis in left if have[axis] == size)
        left.remove(axis)
        axes.append(axis)
    return tuple(axes)


def _scanned(scope: Scope, shape: Shape, depth: int) -> Value | None:
    """Takes a weight that the loop around it scans over."""
    del depth
    loop = scope.loop
    if loop is None or loop.scanned is None:
        return None
    if loop.length * math.prod(shape) > max(scope.model.room, 12):
        return None
    body = scope
    while body.outer is not None and body.outer.loop is loop:
        body = body.outer
    if body.outer is None:
        return None
    whole = weight(body.outer, (loop.length, *shape), depth=1)
    value = Value(scope.name("v"), shape)
    loop.scanned.append((value.name, whole.name))
    scope.weights.append(value)
    return value


def _indexed(scope: Scope, shape: Shape, depth: int) -> Value | None:
    """Takes the row of a weight that the loop's counter points at."""
    del depth
    loop = scope.loop
    if loop is None or loop.counter is None:
        return None
    if loop.length * math.prod(shape) > max(scope.model.room, 12):
        return None
    whole = scope.leaf((loop.length, *shape))
    text = scope.choose(
        (
            f"{whole}[{loop.counter}]",
            f"lax.dynamic_index_in_dim({whole}, {loop.counter}, keepdims=False)",
            f"jnp.take({whole}, {loop.counter}, axis=0, mode='clip')",
        )
    )
    return scope.let(text, shape, "v")


def _prefixed(scope: Scope, shape: Shape, depth: int) -> Value:
    def operand(wanted: Shape) -> Value:
        return weight(scope, wanted, depth=depth + 1)

    make = scope.choose(prefixes.applicable(shape))
    value = scope.let(make(scope, shape, operand), shape, "v")
    scope.weights.append(value)
    return value


def _positive(scope: Scope, shape: Shape, depth: int) -> Value:
    if math.prod(shape) > max(scope.model.room, 12):
        shape_of_leaf: Shape = ()
    else:
        shape_of_leaf = shape
    if scope.rarely(3):
        free = weight(scope, shape_of_leaf, depth=depth + 1)
        made = scope.choose(("jax.nn.softplus({}) + 0.5", "jnp.exp(0.5 * {})"))
        return scope.let(made.format(free), shape_of_leaf, "v")
    return scope.leaf(shape_of_leaf, positive=True)
