"""Names, taps and kept variables of printed bodies; what cannot be printed."""

from __future__ import annotations

import re

import jax
import jax.experimental
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from ntkplan._jax import Primitive
from ntkplan.emit.body import print_body
from ntkplan.emit.draft import Added
from ntkplan.emit.primitives import table
from ntkplan.errors import InternalError, NotPrintableError
from tests.emit import evaluation

X = np.linspace(-1.0, 1.0, 8, dtype=np.float32).reshape(1, 8)
W = np.linspace(-0.5, 1.0, 64, dtype=np.float32).reshape(8, 8)


def _two_layers(x, w):
    return jnp.tanh(jnp.tanh(x @ w) @ w)


def _products(body):
    return [
        equation.outputs[0]
        for equation in body.equations
        if equation.primitive.name == "dot_general"
    ]


def test_hints_and_taps():
    body = evaluation.traced(_two_layers, X, W)
    first, second = _products(body)
    result = print_body(
        body,
        input_names=["x", "w0"],
        name_hints={first: "z", second: "z"},
        after={
            first: Added(text='taps["z0"]'),
            body.inputs[1]: Added(text='taps["w0"]'),
        },
        keep=[second],
        taken=["h0"],
    )
    assert result.lines == (
        'w0 = w0 + taps["w0"]',
        'z = x @ w0 + taps["z0"]',
        "z_1 = jnp.tanh(z) @ w0",
        "h1 = jnp.tanh(z_1)",
    )
    assert result.names == {second: "z_1", body.outputs[0]: "h1"}


def test_an_input_that_is_no_name_gets_one_with_its_tap():
    body = evaluation.traced(lambda x: x * x, X)
    result = print_body(
        body, input_names=["data[0]"], after={body.inputs[0]: Added(text='taps["x"]')}
    )
    assert result.lines == ('h0 = data[0] + taps["x"]', "h1 = h0 * h0")


def test_a_tap_that_is_too_long_has_a_line_of_its_own():
    body = evaluation.traced(lambda x, w: jnp.tanh(x) @ w, X, W)
    (product,) = _products(body)
    tap = 'taps["a_very_long_name_of_a_parameter_in_a_deep_model"][None]'
    names = ["the_examples", "the_weights"]
    result = print_body(body, input_names=names, after={product: Added(text=tap)})
    assert result.lines == (
        "h0 = jnp.tanh(the_examples) @ the_weights",
        f"h0 += {tap}",
    )


def test_a_kept_variable_has_its_whole_shape():
    body = evaluation.traced(lambda x, b: x.reshape(2, 4) * b[None], X, X[0, :4])
    broadcast = [
        v for e in body.equations for v in e.outputs if v.aval.shape[:1] in ((1,), (2,))
    ]
    result = evaluation.printed(body, keep=broadcast)
    names = [result.names[variable] for variable in broadcast]
    text = evaluation.source(body, result)
    text = text.replace("return [", f"return [{', '.join(names)}, ")
    space = {"jax": jax, "jnp": jnp, "lax": lax}
    exec(text, space)
    kept = space["forward"](X, X[0, :4], {})[: len(names)]
    assert [array.shape for array in kept] == [v.aval.shape for v in broadcast]


def test_work_is_never_printed_twice():
    def function(x):
        y = jnp.exp(x)
        return jnp.sin(y) + jnp.cos(y) * jnp.sum(y)

    body = evaluation.traced(function, X)
    assert "\n".join(evaluation.printed(body).lines).count("jnp.exp") == 1


def test_a_value_that_a_loop_reads_is_computed_outside_of_it():
    def function(x, w):
        return lax.scan(lambda h, _: (h @ jnp.exp(w), None), x, length=3)[0]

    def hoisted(x, w):
        grown = jnp.exp(w)
        return lax.scan(lambda h, _: (h @ grown, None), x, length=3)[0]

    inside = evaluation.printed(evaluation.traced(function, X, W)).lines
    outside = evaluation.printed(evaluation.traced(hoisted, X, W)).lines
    assert inside[0] == "def step(h, _):"
    assert outside[0] == "h0 = jnp.exp(x1)"


def test_functions_and_arguments_keep_the_users_names():
    def cell(state, x_t):
        hidden, _ = state
        return (jnp.tanh(hidden @ W + x_t), hidden), x_t * 2.0

    def function(x):
        zeros = jnp.zeros(8)
        return lax.scan(cell, (zeros, zeros), x[0])[1]

    text = "\n".join(evaluation.printed(evaluation.traced(function, X)).lines)
    assert "def cell(carry, x_t):\n    state0, state1 = carry\n" in text
    assert "lax.scan(\n    cell,\n" in text


def test_a_function_that_is_called_twice_is_defined_once():
    @jax.checkpoint
    def block(h, w):
        return jnp.sin(h @ w)

    def function(x, w):
        return block(block(x, w), w) + block(x, w.T)

    body = evaluation.traced(function, X, W)
    result = evaluation.printed(body)
    text = "\n".join(result.lines)
    assert text.count("def ") == 1
    assert text.count("jax.checkpoint(block)(") == 3
    found = evaluation.evaluate_printed(body, result)({}, X, W)
    np.testing.assert_allclose(found[0], function(X, W), rtol=1e-6)


def test_functions_that_differ_are_two():
    def function(x):
        first = lax.cond(x.sum() > 0, lambda v: v * 2.0, lambda v: v * 3.0, x)
        return lax.cond(x.sum() > 1, lambda v: v * 2.0, lambda v: v * 4.0, first)

    text = "\n".join(evaluation.printed(evaluation.traced(function, X)).lines)
    assert text.count("def ") == 3


def test_a_helper_is_not_hidden_by_a_name_inside_a_function():
    @jax.custom_jvp
    def step(x):
        return jnp.sin(x)

    step.defjvp(lambda primals, tangents: (step(*primals), 2.0 * tangents[0]))

    def function(x):
        return lax.scan(lambda h, _: (step(h), None), x, length=2)[0]

    body = evaluation.traced(function, X)
    result = evaluation.printed(body)
    (helper,) = result.helpers
    assert re.findall(r"^def (\w+)", helper, re.MULTILINE) == ["step_1", "step_1_jvp"]
    found = evaluation.evaluate_printed(body, result)({}, X)
    np.testing.assert_allclose(found[0], np.sin(np.sin(X)), rtol=1e-6)


def test_one_helper_for_several_shapes_and_another_for_another_rule():
    def make(factor):
        @jax.custom_jvp
        def curve(x):
            return jnp.sin(x)

        curve.defjvp(lambda p, t: (curve(*p), factor * t[0]))
        return curve

    one, other = make(2.0), make(3.0)
    body = evaluation.traced(
        lambda x: one(one(x).sum()) + one(x.T).sum() + other(x).sum(), X
    )
    result = evaluation.printed(body)
    assert len(result.helpers) == 2
    printed = evaluation.evaluate_printed(body, result)
    expected = evaluation.evaluate_body(body, {})
    slopes = [jax.grad(lambda x, f=f: f({}, x)[0])(X) for f in (printed, expected)]
    np.testing.assert_allclose(*slopes, rtol=1e-6)


def test_a_function_named_as_one_of_jax_is_not_taken_for_it():
    @jax.custom_jvp
    def relu(x):
        return jnp.maximum(x, 0.0)

    relu.defjvp(lambda p, t: (relu(*p), jnp.where(p[0] >= 0, 1.0, 0.0) * t[0]))
    result = evaluation.printed(evaluation.traced(relu, X))
    assert result.lines == ("h0 = relu(x0)",)
    same = evaluation.printed(evaluation.traced(jax.vmap(jax.nn.relu), X))
    assert same.lines == ("h0 = jax.nn.relu(x0)",)


def test_a_callback_is_called_by_reference():
    def function(x):
        shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return jax.pure_callback(lambda a: np.asarray(a) * 2, shape, x * 3.0) + 1.0

    body = evaluation.traced(function, X)
    result = evaluation.printed(body)
    (name,) = result.references
    assert result.lines == (f"(h0,) = {name}(x0 * 3.0)", "h1 = h0 + 1.0")
    assert "callback" in name and result.reasons[name]
    found = evaluation.evaluate_printed(body, result)({}, X)
    np.testing.assert_allclose(found[0], 6 * X + 1)


def test_closed_over_arrays():
    table_, row = (
        np.arange(24.0, dtype=np.float32).reshape(8, 3),
        np.full(8, 3.0, np.float32),
    )

    def function(x):
        return (x * jnp.asarray(row) + jnp.asarray(2.5)) @ jnp.asarray(table_)

    result = evaluation.printed(evaluation.traced(function, X))
    assert list(result.constants) == ["CONSTANT"]
    np.testing.assert_array_equal(result.constants["CONSTANT"], table_)
    assert result.lines == ("h0 = (x0 * 3.0 + 2.5) @ CONSTANT",)


def test_double_precision():
    newer = hasattr(jax, "enable_x64")
    enable = jax.enable_x64 if newer else jax.experimental.enable_x64
    with enable(True):
        x, w = X.astype(np.float64), W.astype(np.float64)

        def function(x, w):
            return jax.nn.softmax(jax.nn.gelu(x @ w / 3.0) * np.float64(1 / 7), axis=-1)

        body = evaluation.traced(function, x, w)
        result = evaluation.printed(body)
        found = evaluation.evaluate_printed(body, result)({}, x, w)
        assert found[0].dtype == np.float64
        np.testing.assert_allclose(found[0], function(x, w), rtol=1e-14)
        assert "0.14285714285714285" in "\n".join(result.lines)


def test_two_printers_of_one_primitive_are_refused():
    printers = dict(list(table.PRINTERS.items())[:1])
    with pytest.raises(InternalError, match="two printers"):
        table.assemble(printers, printers)


def test_a_primitive_without_a_printer_is_refused_with_its_name():
    unknown = Primitive("mystery")
    with pytest.raises(NotPrintableError, match="`mystery` cannot be printed"):
        table.find(unknown)


def test_functions_named_after_what_they_call_are_not_the_same():
    """Under the name of the other, `jnp.sin` in one would read `jnp.cos`."""

    def f(x):
        return lax.cond(jnp.arange(2)[1] > 0, jnp.sin, jnp.cos, x)

    body = evaluation.traced(f, X)
    text = "\n".join(print_body(body, input_names=["x"]).lines)
    assert "jnp.sin(" in text
    assert "jnp.cos(" in text
