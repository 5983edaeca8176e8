"""`cond` and `switch`: on the data, on a loop's counter, on a leaf, on a constant."""

from __future__ import annotations

from tests.generated.scope import Scope, Value
from tests.generated.shapes import fit
from tests.generated.steps.loops import Body


def branch(scope: Scope, value: Value, body: Body) -> Value:
    kinds = ["data", "leaf", "constant"]
    if scope.loop is not None and scope.loop.counter is not None:
        kinds = ["counter", "counter", *kinds]
    kind = scope.choose(kinds)
    if kind == "data" and scope.lead:
        inner = scope.inner(lead=0)
        one = Value(scope.name("one"), value.shape)
        inner.values.append(one)
        made = _branches(inner, one, body, kind)
        apply = scope.define(inner, (one.name,), str(made))
        return scope.let(f"jax.vmap({apply})({value})", made.shape)
    return _branches(scope, value, body, kind)


def _branches(scope: Scope, value: Value, body: Body, kind: str) -> Value:
    count = 2 if scope.flag() else 3
    names: list[str] = []
    shape = value.shape
    for number in range(count):
        inner = scope.inner()
        operand = Value(scope.name("v"), value.shape)
        inner.values.append(operand)
        # The last branch may do nothing.
        made = operand
        if number + 1 < count or scope.flag():
            made = body(inner, operand)
        if number:
            made = fit(inner, made, shape)
        shape = made.shape
        names.append(scope.define(inner, (operand.name,), str(made), "branch"))
    number = _number(scope, value, kind)
    if count == 2:
        text = f"lax.cond({number} % 2 == 0, {names[0]}, {names[1]}, {value})"
    else:
        text = f"lax.switch({number} % 3, [{', '.join(names)}], {value})"
    return scope.let(text, shape)


def _number(scope: Scope, value: Value, kind: str) -> str:
    """Returns an integer that says which branch to take."""
    if kind == "counter":
        assert scope.loop is not None
        return str(scope.loop.counter)
    source = str(value)
    if kind == "leaf":
        leaves = [w for w in scope.weights if w.name.startswith("w")]
        source = str(scope.choose(leaves)) if leaves else scope.constant((2,))
    if kind == "constant":
        source = scope.constant((2,))
    return f"jnp.abs(10 * jnp.sum({source})).astype(int)"
