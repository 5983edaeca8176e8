"""Products of leaves and data: any `dot_general`, bilinear forms, heads, experts."""

from __future__ import annotations

import math

from tests.generated.program import Shape
from tests.generated.scope import Scope, Value
from tests.generated.shapes import contain
from tests.generated.weights import weight

LETTERS = "abcd"


def roles_of_axes(scope: Scope, value: Value) -> tuple[list[int], list[int], list[int]]:
    """Draws which axes of the data are contracted, shared with the leaf, and free."""
    contracted, shared, free = [], [], []
    lists = (contracted, free, shared)
    for axis in reversed(range(value.rank)):
        role = scope.integer(0, 2) if contracted else 0
        if not contracted and scope.rarely(5):
            role = scope.integer(1, 2)
        if math.prod(value.shape[a] for a in (*contracted, *shared, axis)) > 40:
            role = 1
        lists[role].insert(0, axis)
    return contracted, shared, free


def new_sizes(scope: Scope, value: Value, held: int, kept: int) -> Shape:
    """Draws the axes of the leaf that are new to the data."""
    most = 1 if kept > 2 or held > 15 else 2
    count = scope.choose([1] * 3 + [n for n in (0, 2) if n <= most and n + kept])
    sizes: list[int] = []
    for _ in range(count):
        sizes.append(scope.size([*value.shape, *sizes], most=5 if held > 9 else 7))
    return tuple(sizes)


def einsum(scope: Scope, value: Value) -> Value:
    contracted, shared, free = roles_of_axes(scope, value)
    held = math.prod(value.shape[axis] for axis in (*contracted, *shared))
    new = new_sizes(scope, value, held, len(free) + len(shared))
    letter = {LETTERS[axis]: value.shape[axis] for axis in range(value.rank)}
    letter |= {"uv"[place]: size for place, size in enumerate(new)}
    own = "".join(LETTERS[axis] for axis in range(value.rank))
    of_leaf = [LETTERS[axis] for axis in (*contracted, *shared)] + list(
        "uv"[: len(new)]
    )
    of_leaf = scope.permutation(of_leaf) if len(of_leaf) > 1 else of_leaf
    out = [LETTERS[axis] for axis in (*free, *shared)] + list("uv"[: len(new)])
    out = scope.permutation(out) if len(out) > 1 else out
    kernel = weight(scope, tuple(letter[a] for a in of_leaf))
    operands = [(f"...{own}", str(value)), ("".join(of_leaf), str(kernel))]
    if scope.flag():
        operands.reverse()
    subscripts = f"{operands[0][0]},{operands[1][0]}->...{''.join(out)}"
    text = f'jnp.einsum("{subscripts}", {operands[0][1]}, {operands[1][1]})'
    return contain(scope, scope.let(text, tuple(letter[a] for a in out)))


def dot_general(scope: Scope, value: Value) -> Value:
    """`lax.dot_general` with explicit dimension numbers, the leaf on either side."""
    contracted, shared, free = roles_of_axes(scope, value)
    held = math.prod(value.shape[axis] for axis in (*contracted, *shared))
    new = new_sizes(scope, value, held, len(free) + len(shared))
    kinds = [*contracted, *shared, *(None for _ in new)]
    order = scope.permutation(range(len(kinds)))
    sizes = [value.shape[a] for a in (*contracted, *shared)] + list(new)
    kernel = weight(scope, tuple(sizes[place] for place in order))
    where = {kinds[place]: axis for axis, place in enumerate(order)}
    news = tuple(sizes[place] for place in order if kinds[place] is None)
    shift = scope.lead

    def numbers(axes: list[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return tuple(axis + shift for axis in axes), tuple(where[axis] for axis in axes)

    contract, batch = numbers(contracted), numbers(shared)
    kept = tuple(value.shape[axis] for axis in free)
    common = tuple(value.shape[axis] for axis in shared)
    if scope.flag():
        contract, batch = contract[::-1], batch[::-1]
        first, second, shape, lead = kernel, value, (*news, *kept), len(news)
    else:
        first, second, shape, lead = value, kernel, (*kept, *news), 0
    text = f"lax.dot_general({first}, {second}, ({contract}, {batch}))"
    if scope.lead and len(common) + lead:
        text = f"jnp.moveaxis({text}, {len(common) + lead}, 0)"
    return contain(scope, scope.let(text, (*common, *shape)))


def matmul(scope: Scope, value: Value) -> Value:
    """The product that most models are made of."""
    width = scope.size(value.shape)
    kernel = weight(scope, (value.shape[-1], width))
    shape = (*value.shape[:-1], width)
    made = scope.let(f"{value} @ {kernel}", shape)
    if scope.flag():
        made = scope.let(f"{made} + {weight(scope, (width,))}", shape)
    return contain(scope, made)


def from_the_left(scope: Scope, value: Value) -> Value:
    """`W @ x`, positions mixed, or with a stack of matrices, one for each position."""
    width = scope.size(value.shape)
    if value.rank == 1:
        kernel = weight(scope, (width, value.shape[-1]))
        return scope.let(f"({kernel} @ {value}[..., None])[..., 0]", (width,))
    rows, columns = value.shape[-2:]
    if scope.rarely(3) and rows * columns * width <= 45:
        kernel = weight(scope, (rows, columns, width))
        text = f"({value}[..., None, :] @ {kernel})[..., 0, :]"
        return scope.let(text, (*value.shape[:-1], width))
    kernel = weight(scope, (width, rows))
    shape = (*value.shape[:-2], width, columns)
    return contain(scope, scope.let(f"{kernel} @ {value}", shape))


def bilinear(scope: Scope, value: Value) -> Value:
    """One leaf that meets data twice in the same product."""
    other = scope.choose([v for v in scope.values if v.rank == 1] or [value])
    if other.rank != 1:
        other = scope.let(
            f"{value}.mean({tuple(range(-value.rank, -1))})", value.shape[-1:]
        )
    if other.size * value.shape[-1] > 35:
        other = scope.let(f"{other}[..., :3]", (min(3, other.size),))
    width = scope.choose((2, 3, 1))
    kernel = weight(scope, (value.shape[-1], other.size, width))
    axes = "defg"[: value.rank - 1]
    subscripts = f"...{axes}a,abc,...b->...{axes}c"
    text = f'jnp.einsum("{subscripts}", {value}, {kernel}, {other})'
    return contain(scope, scope.let(text, (*value.shape[:-1], width)))


def experts(scope: Scope, value: Value) -> Value:
    """A mixture of experts: gates, and a weight for each expert."""
    count, features = scope.choose((2, 3)), value.shape[-1]
    width = scope.size(value.shape, most=3)
    gates = scope.let(
        f"jax.nn.softmax({value} @ {weight(scope, (features, count))}, axis=-1)",
        (*value.shape[:-1], count),
    )
    kernel = weight(scope, (count, features, width))
    shape = (*value.shape[:-1], width)
    if scope.flag():
        chosen = scope.let(f"{kernel}[jnp.argmax({gates}, axis=-1)]", (), "e")
        text = f'jnp.einsum("...a,...ab->...b", {value}, {chosen})'
    else:
        text = f'jnp.einsum("...e,...a,eab->...b", {gates}, {value}, {kernel})'
    return contain(scope, scope.let(text, shape))


def attention(scope: Scope, value: Value) -> Value:
    """Self-attention over the next to last axis, queries, keys and values packed."""
    features, heads, width = value.shape[-1], scope.choose((1, 2)), 2
    kernel = weight(scope, (features, 3, heads, width))
    packed = scope.let(
        f'jnp.einsum("...sa,athk->...tshk", {value}, {kernel})', (), "qkv"
    )
    queries, keys, values = (f"{packed}[..., {i}, :, :, :]" for i in range(3))
    scores = scope.let(
        f'jnp.einsum("...shk,...thk->...hst", {queries}, {keys})', (), "scores"
    )
    mixed = scope.let(
        f'jnp.einsum("...hst,...thk->...shk", jax.nn.softmax({scores}), {values})',
        (*value.shape[:-1], heads, width),
    )
    if scope.flag():
        return contain(scope, mixed)
    out = weight(scope, (heads, width, features))
    text = f'{value} + jnp.einsum("...shk,hka->...sa", {mixed}, {out})'
    return scope.let(text, value.shape)
