"""Loops: over time, over layers, with a counter, by `lax.map`; forward and reverse."""

from __future__ import annotations

from collections.abc import Callable

from tests.generated.program import Assign
from tests.generated.scope import Loop, Scope, Value
from tests.generated.shapes import contain, fit, join
from tests.generated.weights import weight

Body = Callable[[Scope, Value], Value]


def recurrence(scope: Scope, value: Value, body: Body) -> Value:
    """A scan over an axis of the data, with a state; leaves closed over or scanned."""
    axis = scope.choose(range(value.rank))
    length = value.shape[axis]
    item_shape = value.shape[:axis] + value.shape[axis + 1 :]
    width = scope.size([length], most=5)
    loop = Loop(length=length, counter=None, scanned=[])
    inner = scope.inner(loop=loop)
    state = Value(scope.name("state"), (width,))
    item = Value(scope.name("item"), item_shape)
    inner.values += [state, item]
    given = body(inner, item) if scope.flag() else item
    given = fit(inner, given, (width,))
    recurrent = weight(inner, (width, width))
    sign = scope.choose("+*") if scope.rarely(4) else "+"
    new = inner.let(f"jnp.tanh({given} {sign} {state} @ {recurrent})", (width,))
    if scope.rarely(3):
        gate = inner.let(
            f"jax.nn.sigmoid({weight(inner, (width,))} * {given})", (width,)
        )
        new = inner.let(f"{gate} * {state} + (1 - {gate}) * {new}", (width,))
    lead = f"{value}.shape[:1] + " if scope.lead else ""
    start = f"jnp.zeros({lead}({width},))"
    if scope.rarely(3):
        start = f"{start} + {weight(scope, (width,))}"
    items = f"jnp.moveaxis({value}, {axis - value.rank}, 0)"
    return _scan(scope, inner, loop, state, new, start, item=item, items=items)


def layers(scope: Scope, value: Value, body: Body) -> Value:
    """A scan whose carry goes through the same steps, over stacked leaves or none."""
    loop = Loop(length=scope.choose((2, 3)), counter=None, scanned=[])
    inner = scope.inner(loop=loop)
    carry = Value(scope.name("carry"), value.shape)
    inner.values.append(carry)
    new = fit(inner, body(inner, carry), value.shape)
    new = inner.let(f"jnp.tanh({new})", value.shape)
    if scope.flag():
        new = inner.let(f"{carry} + 0.5 * {new}", value.shape)
    return _scan(scope, inner, loop, carry, new, str(value))


def _scan(
    scope: Scope,
    inner: Scope,
    loop: Loop,
    carry: Value,
    new: Value,
    start: str,
    *,
    item: Value | None = None,
    items: str = "",
) -> Value:
    """Writes the body and the scan; the result is the carry, the outputs, or both."""
    assert loop.scanned is not None
    scanned = list(loop.scanned)
    if item is not None:
        scanned.insert(0, (item.name, items))
    result = scope.choose(("carry", "stacked", "both"))
    out = "None"
    if result != "carry":
        out = scope.choose((str(new), str(carry), f"jnp.sin({new})"))
    names = ", ".join(name for name, _ in scanned)
    argument = "_"
    if len(scanned) == 1:
        argument = names
    elif scanned:
        argument = scope.name("items")
        unpacked = inner.lines
        inner.lines = []
        inner.run(f"{names} = {argument}")
        inner.lines += unpacked
    step = scope.define(inner, (carry.name, argument), f"{new}, {out}", "step")
    arrays = ", ".join(text for _, text in scanned)
    over = f"({arrays})" if len(scanned) > 1 else arrays or "None"
    options = f"length={loop.length}" if not scanned else ""
    if scope.rarely(3):
        options += ", reverse=True"
    if scope.rarely(6):
        options += ", unroll=2"
    options = options.removeprefix(", ")
    ends, stack = scope.name("end"), scope.name("stack")
    call = f"lax.scan({step}, {start}, {over}{', ' * bool(options)}{options})"
    scope.lines.append(Assign(target=f"{ends}, {stack}", expression=call))
    last = Value(ends, new.shape)
    if result == "carry":
        scope.values.append(last)
        return last
    axis = -1 - new.rank
    stacked = scope.let(f"jnp.moveaxis({stack}, 0, {axis})", (loop.length, *new.shape))
    stacked = contain(scope, stacked)
    return join(scope, last, stacked) if result == "both" else stacked


def counted(scope: Scope, value: Value, body: Body) -> Value:
    """`fori_loop` with a static count, whose counter may pick leaves."""
    loop = Loop(length=scope.choose((2, 3)), counter=scope.name("i"), scanned=None)
    inner = scope.inner(loop=loop)
    carry = Value(scope.name("carry"), value.shape)
    inner.values.append(carry)
    new = fit(inner, body(inner, carry), value.shape)
    assert loop.counter is not None
    returns = f"jnp.tanh({new} + 0.1 * {loop.counter})"
    step = scope.define(inner, (loop.counter, carry.name), returns, "step")
    text = f"lax.fori_loop(0, {loop.length}, {step}, {value})"
    return scope.let(text, value.shape)


def mapped(scope: Scope, value: Value, body: Body) -> Value:
    """`lax.map` or `vmap` over an axis of the data."""
    axis = scope.choose(range(value.rank))
    loop = Loop(length=value.shape[axis], counter=None, scanned=None)
    inner = scope.inner(loop=loop)
    item = Value(scope.name("item"), value.shape[:axis] + value.shape[axis + 1 :])
    inner.values.append(item)
    made = body(inner, item)
    apply = scope.define(inner, (item.name,), str(made))
    shape = (value.shape[axis], *made.shape)
    back = -1 - made.rank
    if scope.flag():
        text = (
            f"jax.vmap({apply}, in_axes={axis - value.rank}, out_axes={back})({value})"
        )
    else:
        items = f"jnp.moveaxis({value}, {axis - value.rank}, 0)"
        text = f"jnp.moveaxis(lax.map({apply}, {items}), 0, {back})"
    return contain(scope, scope.let(text, shape))


def linear_recurrence(scope: Scope, value: Value, body: Body) -> Value:
    """`associative_scan` of a linear recurrence with a learned decay."""
    del body
    decay = weight(scope, value.shape[-1:])
    factors = f"jnp.broadcast_to(jax.nn.sigmoid({decay}), {value}.shape)"
    combine = "lambda p, q: (p[0] * q[0], p[1] * q[0] + q[1])"
    axis = scope.lead
    text = f"lax.associative_scan({combine}, ({factors}, {value}), axis={axis})[1]"
    return scope.let(text, value.shape)
