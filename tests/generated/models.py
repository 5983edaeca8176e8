"""The strategy that draws whole models."""

from __future__ import annotations

from collections.abc import Callable

import hypothesis.strategies as st

from tests.generated.program import Program
from tests.generated.scope import Model, Scope, Value
from tests.generated.shapes import contain, fit, vector
from tests.generated.steps import (
    arithmetic,
    branches,
    convolutions,
    data,
    lookups,
    loops,
    products,
    wrappers,
)
from tests.generated.weights import weight

Step = Callable[[Scope, Value], Value]

# Every step with the least and the most axes that it can be given.
WITH_LEAF: tuple[tuple[Step, int, int], ...] = (
    (products.matmul, 1, 4),
    (products.einsum, 1, 4),
    (products.dot_general, 1, 4),
    (products.from_the_left, 1, 4),
    (products.bilinear, 1, 3),
    (products.experts, 1, 3),
    (products.attention, 2, 2),
    (convolutions.convolution, 2, 4),
    (convolutions.batch_groups, 3, 4),
    (arithmetic.with_leaf, 1, 4),
    (arithmetic.film, 1, 3),
    (arithmetic.outer, 1, 2),
    (arithmetic.layer_norm, 1, 3),
    (lookups.table, 1, 4),
    (lookups.two_indices, 1, 2),
    (lookups.window, 1, 3),
)
# What a model meets more often than the others is there more than once.
OFTEN: tuple[tuple[Step, int, int], ...] = (
    (convolutions.convolution, 2, 4),
    (convolutions.convolution, 2, 4),
    (products.einsum, 1, 4),
    (products.dot_general, 1, 4),
    (arithmetic.with_leaf, 1, 4),
    (arithmetic.with_leaf, 1, 4),
    (lookups.table, 1, 4),
)
OF_DATA: tuple[tuple[Step, int, int], ...] = (
    (data.elementwise, 0, 4),
    (data.along_an_axis, 1, 4),
    (data.reduced, 2, 4),
    (data.rearranged, 1, 4),
    (data.skipped, 1, 4),
    (data.pooled, 1, 4),
    (data.gram, 2, 3),
    (data.scattered, 1, 3),
)
AROUND_STEPS = (
    (loops.recurrence, 2, 3),
    (loops.layers, 1, 3),
    (loops.counted, 1, 3),
    (loops.mapped, 2, 4),
    (loops.linear_recurrence, 2, 3),
    (branches.branch, 1, 3),
    (wrappers.called, 1, 4),
    (wrappers.called_with_leaf, 1, 3),
    (wrappers.of_one_example, 1, 3),
    (wrappers.custom_jvp, 1, 4),
    (wrappers.custom_vjp, 1, 3),
    (wrappers.derivative_by_input, 1, 2),
)
DEEPEST = 2


def step(scope: Scope, value: Value) -> Value:
    """Writes one step that a value of this rank can be given to."""
    kinds = ["leaf", "data", "leaf"]
    if scope.depth < DEEPEST and scope.model.room > 20:
        kinds += ["around"] * 2
    if scope.model.room <= 0:
        kinds = ["data"]
    kind = scope.choose(kinds)
    if kind == "around":
        found = [s for s, least, most in AROUND_STEPS if least <= value.rank <= most]
        return scope.choose(found)(scope, value, lambda s, v: steps(s, v, 1))
    table = (*WITH_LEAF, *OFTEN) if kind == "leaf" else OF_DATA
    fitting = [s for s, least, most in table if least <= value.rank <= most]
    if value.rank and value.shape[-1] == 1:
        fitting = [s for s in fitting if s is not data.pooled]
    return scope.choose(fitting)(scope, value)


def steps(scope: Scope, value: Value, more: int) -> Value:
    """Writes one step and up to `more` others."""
    if value.rank == 0:
        value = vector(scope, value)
    for _ in range(1 + scope.integer(0, more)):
        value = contain(scope, step(scope, value))
        if value.rank == 0:
            value = vector(scope, value)
    return value


def readout(scope: Scope, value: Value) -> Value:
    """Ends in one to seven outputs, on no axis, one or two."""
    kinds = ["vector", "matrix", "vector", "as_it_is", "scalar", "position"]
    kind = scope.choose(kinds)
    if kind == "as_it_is" and value.size <= 7 and scope.model.leaves:
        return value
    if kind == "position" and value.rank == 2 and value.shape[0] <= 3:
        width = 7 // value.shape[0]
        kernel = weight(scope, (value.shape[-1], width))
        return scope.let(f"{value} @ {kernel}", (value.shape[0], width))
    shape = {
        "vector": (scope.choose((2, 3, 5, 7, 1)),),
        "matrix": scope.choose(((2, 3), (3, 2), (1, 5), (3, 1))),
        "scalar": (),
    }.get(kind, (3,))
    flat = vector(scope, value, most=24)
    letters = "uv"[: len(shape)]
    kernel = weight(scope, (flat.size, *shape))
    text = f'jnp.einsum("...a,a{letters}->...{letters}", {flat}, {kernel})'
    value = scope.let(text, shape)
    if scope.rarely(4):
        return scope.let(f"jnp.tanh({value} + {weight(scope, shape)})", shape)
    return value


@st.composite
def programs(draw: Callable[..., object]) -> Program:
    """Draws a model with its examples."""
    form = draw(st.sampled_from(("batched", "vmapped", "batched", "mapped", "jitted")))
    scope = Scope(draw=draw, model=Model(), lead=int(form == "batched"))
    model = scope.model
    x_shape, n_tokens = _inputs(scope)
    value = _first(scope, x_shape, n_tokens)
    value = steps(scope, value, 2)
    if not model.leaves:
        value = fit(scope, value, (scope.size(value.shape),))
    value = readout(scope, value)
    packing = scope.choose(
        ("dictionary", "dictionary", "slices", "split", "dynamic_slices")
    )
    return Program(
        leaves=tuple(model.leaves),
        packing=packing,
        constants=tuple(model.constants),
        x_shape=x_shape,
        n_tokens=n_tokens,
        vocabulary=model.vocabulary,
        body=tuple(scope.lines),
        returns=value.name,
        output_shape=value.shape,
        form=form,
        seed=scope.integer(0, 1000),
        n1=scope.integer(1, 4),
        n2=scope.integer(1, 3),
        forward_mode=model.forward_mode,
    )


def _inputs(scope: Scope) -> tuple[tuple[int, ...] | None, int | None]:
    """Draws floats, tokens, or both."""
    kind = scope.choose(("x", "x", "x", "tokens", "both"))
    x_shape, n_tokens = None, None
    if kind != "tokens":
        sizes: list[int] = []
        rank = scope.choose((1, 2, 3, 2, 4))
        for _ in range(rank if rank < 4 else 0):
            sizes.append(scope.size(sizes, most=5))
        x_shape = tuple(sizes or scope.permutation((2, 3, 5, 2)))
    if kind != "x":
        n_tokens = scope.choose((1, 2, 3, 5))
        scope.model.tokens = Value("tokens", (n_tokens,))
        scope.model.vocabulary = scope.choose((5, 7, 11))
    return x_shape, n_tokens


def _first(
    scope: Scope, x_shape: tuple[int, ...] | None, n_tokens: int | None
) -> Value:
    """Returns the value that the first step is given."""
    if x_shape is not None:
        value = Value("x", x_shape)
        scope.values.append(value)
        return contain(scope, value)
    assert n_tokens is not None
    width = scope.size([n_tokens], most=5)
    table = weight(scope, (scope.model.vocabulary, width))
    return scope.let(f"{table}[tokens]", (n_tokens, width))
