"""Functions around parts of a model: remat, jit, vmap, custom and inner derivatives."""

from __future__ import annotations

from tests.generated.scope import Scope, Value
from tests.generated.shapes import fit
from tests.generated.steps.loops import Body
from tests.generated.weights import weight

CALLS = (
    "jax.checkpoint({f})({h})",
    "jax.jit({f})({h})",
    "jax.checkpoint({f}, prevent_cse=False)({h})",
    "jax.checkpoint({f}, policy=jax.checkpoint_policies.dots_saveable)({h})",
    "jax.jit(jax.checkpoint({f}))({h})",
)


def called(scope: Scope, value: Value, body: Body) -> Value:
    """A block, rematerialised or compiled on its own; its leaves are closed over."""
    inner = scope.inner()
    operand = Value(scope.name("v"), value.shape)
    inner.values.append(operand)
    made = body(inner, operand)
    apply = scope.define(inner, (operand.name,), str(made))
    text = scope.choose(CALLS).format(f=apply, h=value)
    return scope.let(text, made.shape)


def called_with_leaf(scope: Scope, value: Value, body: Body) -> Value:
    """A block that takes its leaf as an argument, and is called twice."""
    square = (value.shape[-1], value.shape[-1])
    kernel = weight(scope, square)
    inner = scope.inner()
    operand, leaf = Value(scope.name("v"), value.shape), Value(scope.name("k"), square)
    inner.values.append(operand)
    made = inner.let(f"jnp.tanh({operand} @ {leaf})", value.shape)
    if scope.rarely(3):
        made = fit(inner, body(inner, made), value.shape)
    apply = scope.define(inner, (operand.name, leaf.name), str(made))
    wrapped = scope.choose(("jax.checkpoint({})", "jax.jit({})")).format(apply)
    first = scope.let(f"{wrapped}({value}, {kernel})", value.shape)
    other = weight(scope, square) if scope.rarely(3) else f"{kernel}.T"
    return scope.let(f"{wrapped}({first}, {other})", value.shape)


def of_one_example(scope: Scope, value: Value, body: Body) -> Value:
    """A block written for one example, where the rest is written for a batch."""
    if not scope.lead:
        return called(scope, value, body)
    inner = scope.inner(lead=0)
    operand = Value(scope.name("one"), value.shape)
    inner.values.append(operand)
    made = body(inner, operand)
    apply = scope.define(inner, (operand.name,), str(made))
    return scope.let(f"jax.vmap({apply})({value})", made.shape)


def custom_jvp(scope: Scope, value: Value, body: Body) -> Value:
    """A derivative that is not the true one, of the data and perhaps of a leaf."""
    del body
    inner = scope.inner()
    if scope.flag():
        apply = scope.define(inner, ("v",), "jnp.sin(v)", "act", "jax.custom_jvp")
        scope.run(f"{apply}.defjvps(lambda t, out, v: 1.5 * jnp.cos(v) * t)")
        return scope.let(f"{apply}({value})", value.shape)
    gain = weight(scope, value.shape[-1:])
    apply = scope.define(inner, ("k", "v"), "jnp.sin(k * v)", "act", "jax.custom_jvp")
    scope.run(
        f"{apply}.defjvps(lambda t, out, k, v: 0.5 * v * t, "
        "lambda t, out, k, v: jnp.cos(v) * k * t)"
    )
    return scope.let(f"{apply}({gain}, {value})", value.shape)


def custom_vjp(scope: Scope, value: Value, body: Body) -> Value:
    """A backward rule that is not the true derivative, and no forward rule."""
    if scope.twice:
        return custom_jvp(scope, value, body)
    scope.model.forward_mode = False
    inner = scope.inner()
    if scope.flag():
        apply = scope.define(inner, ("v",), "2.0 * jnp.sin(v)", "act", "jax.custom_vjp")
        scope.run(
            f"{apply}.defvjp(lambda v: ({apply}(v), v), lambda v, t: (jnp.cos(v) * t,))"
        )
        return scope.let(f"{apply}({value})", value.shape)
    width = scope.size(value.shape, most=5)
    kernel = weight(scope, (value.shape[-1], width))
    apply = scope.define(inner, ("k", "v"), "2.0 * (v @ k)", "act", "jax.custom_vjp")
    axes = "cdefgh"[: scope.lead + value.rank - 1]
    subscripts = f"{axes}a,{axes}b->ab"
    scope.run(
        f"{apply}.defvjp(lambda k, v: ({apply}(k, v), (k, v)), lambda saved, t: "
        f'(jnp.einsum("{subscripts}", saved[1], t), t @ saved[0].T))'
    )
    return scope.let(f"{apply}({kernel}, {value})", (*value.shape[:-1], width))


def derivative_by_input(scope: Scope, value: Value, body: Body) -> Value:
    """A gradient, a directional or a second derivative by what goes in."""
    inner = scope.inner(lead=0)
    inner.twice = True
    operand = Value(scope.name("v"), value.shape)
    inner.values.append(operand)
    made = body(inner, operand)
    square = scope.define(inner, (operand.name,), f"jnp.sum({made} ** 2)")
    options = [
        "jax.grad({f})(one)",
        "one * jax.jvp({f}, (one,), (jnp.sin(one),))[1]",
        "jax.jvp(jax.grad({f}), (one,), (one,))[1]",
    ]
    if value.rank == 1:
        options.append("one * jnp.trace(jax.hessian({f})(one))")
    apply = scope.choose(options).format(f=square)
    text = f"(lambda one: {apply})"
    text = f"jax.vmap{text}({value})" if scope.lead else f"{text}({value})"
    return scope.let(text, value.shape)
