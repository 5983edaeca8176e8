"""Every mistake of a user meets a message: what, where, through which parameter."""

from __future__ import annotations

import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkplan
from ntkplan import errors
from ntkplan.options import parse_bytes
from tests.cases import problem

PARAMS = {"w": jnp.ones((3, 4)), "head": {"v": jnp.linspace(0.0, 1.0, 8).reshape(4, 2)}}
X = np.linspace(-1.0, 1.0, 15, dtype=np.float32).reshape(5, 3)


def model(params, x):
    return jnp.tanh(x @ params["w"]) @ params["head"]["v"]


def line_of(text: str) -> str:
    """Returns `test_wrong_input.py:41` for the only line of this file that ends so."""
    lines = inspect.getsource(inspect.getmodule(model)).splitlines()
    (number,) = [n for n, line in enumerate(lines, 1) if line.endswith(text)]
    return f"test_wrong_input.py:{number}"


def refusal(error: type[errors.NtkPlanError], call, *arguments, **options) -> str:
    """Returns the message with which a call is refused."""
    assert issubclass(error, errors.NtkPlanError)
    with pytest.raises(error) as caught:
        call(*arguments, **options)
    return str(caught.value)


def refused(error: type[errors.NtkPlanError], *arguments, **options) -> str:
    """Returns the message with which `ntkplan.plan` refuses."""
    return refusal(error, ntkplan.plan, *arguments, **options)


def test_while_with_a_dynamic_count_is_named_with_its_line_and_parameter():
    def f(params, x):
        def halved(value):
            return value * params["w"][0, 0] / 2.0

        y = jax.lax.while_loop(lambda value: jnp.sum(value) > 1.0, halved, x)  # here
        return y @ params["w"] @ params["head"]["v"]

    message = refused(errors.UnsupportedPrimitiveError, f, PARAMS, X)
    assert message == (
        f"no reverse-mode derivative for `while` at {line_of(', x)  # here')}.\n"
        "Parameter w reaches the output through it.\n"
        "Use lax.scan or lax.fori_loop with a static trip count, or leave the leaf out "
        "with wrt=."
    )


def test_while_is_no_matter_where_wrt_leaves_its_leaf_out():
    def f(params, x):
        count = jax.lax.while_loop(
            lambda n: n < params["w"][0, 0], lambda n: n + 1, 0.0
        )
        return jnp.tanh(x * count) @ jnp.ones((3, 4)) @ params["head"]["v"]

    got = ntkplan.ntk(f, PARAMS, X, wrt=lambda path, leaf: path == "head/v")
    assert got.shape == (5, 5, 2, 2)


def test_examples_that_interact_are_named_with_their_line():
    def f(params, x):
        h = x @ params["w"]
        h = h - h.mean(axis=0)  # batch
        return jnp.tanh(h) @ params["head"]["v"]

    message = refused(errors.InteractingExamplesError, f, PARAMS, X)
    assert line_of("# batch") in message
    assert "reduce_sum" in message
    assert "batch_axis=None" in message


def test_leaves_that_are_not_floating_point():
    params = {**PARAMS, "step": jnp.array(3)}

    def f(params, x):
        return model(params, x) * params["step"]

    message = refused(errors.NonFloatLeafError, f, params, X)
    assert "parameter step is int32" in message
    assert "wrt=" in message
    assert ntkplan.ntk(f, params, X, wrt=lambda path, leaf: path != "step").size


def test_leaves_that_are_complex():
    params = {**PARAMS, "phase": jnp.array(1j)}
    message = refused(errors.ComplexLeafError, model, params, X)
    assert "parameter phase is complex64" in message


def test_no_leaf_to_differentiate():
    message = refused(
        errors.NoLeavesError, model, PARAMS, X, wrt=lambda path, leaf: False
    )
    assert "wrt=" in message
    refused(errors.NoLeavesError, lambda params, x: x, {}, X)


def test_output_that_depends_on_no_leaf():
    message = refused(errors.OutputError, lambda params, x: jnp.sin(x), PARAMS, X)
    assert "depends on no leaf" in message


def test_output_that_is_one_number():
    def loss(params, x):
        return model(params, x).sum()

    message = refused(errors.OutputError, loss, PARAMS, X)
    assert "shape []" in message
    assert "example axis" in message


def test_output_without_an_example_axis():
    def f(params, x):
        return model(params, x).sum(axis=0)

    message = refused(errors.OutputError, f, PARAMS, X)
    assert "[2]" in message
    assert "example axis" in message


def test_output_that_is_empty():
    assert "empty" in refused(
        errors.OutputError, lambda p, x: model(p, x)[:, :0], PARAMS, X
    )


def test_output_that_is_no_number_with_a_derivative():
    message = refused(
        errors.OutputError, lambda p, x: model(p, x).argmax(axis=1), PARAMS, X
    )
    assert "int32" in message


@pytest.mark.parametrize("name", ["plain_mlp", "plain_cnn_same_flatten"])
def test_memory_limit_below_the_least_possible_names_the_least(name):
    f, params, x1, x2 = problem(name)
    with pytest.raises(errors.MemoryLimitError) as caught:
        ntkplan.plan(f, params, x1, x2, memory_limit=100)
    message = str(caught.value)
    (least,) = map(int, re.findall(r"\((\d+) bytes\)", message))
    assert least == caught.value.least_bytes > 100
    assert "100B" in message
    plan = ntkplan.plan(f, params, x1, x2, memory_limit=least)
    assert plan.compile()(params, x1, x2).shape[:2] == (len(x1), len(x2))
    with pytest.raises(errors.MemoryLimitError):
        ntkplan.plan(f, params, x1, x2, memory_limit=least - 1)
    (advised,) = re.findall(r'at least "(\w[\w.]*)"', message)
    assert ntkplan.plan(f, params, x1, x2, memory_limit=advised)


@pytest.mark.parametrize(
    "least", [1, 999, 1_024, 827_604, 1_023 * 1_024 + 1, 13 * 2**20 + 1, 3 * 2**40 + 1]
)
def test_the_advised_memory_limit_is_never_below_the_least(least):
    message = str(errors.MemoryLimitError(limit_bytes=1, least_bytes=least))
    (advised,) = re.findall(r'at least "(.*)"', message)
    assert least <= parse_bytes(advised) <= 1.02 * least


def test_memory_limit_that_is_no_size():
    for limit in ("8 parsecs", -1, 0, "GiB", "1e", "1e999", float("inf"), True):
        message = refused(
            errors.UnknownOptionError, model, PARAMS, X, memory_limit=limit
        )
        assert repr(limit) in message
        assert '"8GiB" or "8Gi"' in message


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("8G", 8e9),
        ("8GB", 8e9),
        ("8Gi", 8 * 2**30),
        ("8 gib", 8 * 2**30),
        ("1e6", 1e6),
        ("2.5e-1T", 2.5e11),
        ("100B", 100),
    ],
)
def test_memory_limits_as_text(text, count):
    assert parse_bytes(text) == count


def test_unknown_device_lists_those_there_are():
    message = refused(errors.UnknownDeviceError, model, PARAMS, X, device="abacus")
    assert "'abacus'" in message
    for profile in ntkplan.devices():
        assert profile.name in message


@pytest.mark.parametrize(
    ("option", "value", "known"),
    [
        ("kernel", "fulll", ("full", "trace", "diagonal", "sum_of_logits")),
        ("pairs", "some", ("all", "matched")),
        ("precision", "sloppy", ("default", "high", "highest")),
        ("methods", "magic", ("structured_derivatives", "ntk_vector_products")),
        ("methods", ["magic"], ("structured_derivatives", "jacobian_contraction")),
        ("methods", {"w": "magic"}, ("structured_derivatives", "sum_of_logits")),
        ("methods", {"head/u*": "ntk_vector_products"}, ("head/u*", "head/v", "w")),
    ],
)
def test_unknown_value_of_an_option_lists_the_known(option, value, known):
    message = refused(errors.UnknownOptionError, model, PARAMS, X, **{option: value})
    for name in known:
        assert name in message


def test_unknown_option_is_named():
    """As any Python function, with the name that is wrong."""
    with pytest.raises(TypeError, match="memory_limits"):
        ntkplan.plan(model, PARAMS, X, memory_limits=3)


def test_kernel_and_axes_exclude_each_other():
    message = refused(
        errors.ConflictingOptionsError,
        model,
        PARAMS,
        X,
        kernel="trace",
        trace_axes=(-1,),
    )
    assert "kernel='trace'" in message
    assert "trace_axes" in message


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"trace_axes": 2}, "trace_axes names axis 2, and the output has 2 axes"),
        ({"trace_axes": 0}, "counts examples"),
        ({"trace_axes": (1, -1)}, "names an axis twice"),
        ({"trace_axes": 1, "diagonal_axes": -1}, "both trace_axes and diagonal_axes"),
    ],
)
def test_axes_that_make_no_sense(options, part):
    assert part in refused(errors.ConflictingOptionsError, model, PARAMS, X, **options)


def test_sum_of_logits_is_no_method_for_another_kernel():
    message = refused(
        errors.MethodNotApplicableError, model, PARAMS, X, methods="sum_of_logits"
    )
    assert 'kernel="sum_of_logits"' in message


def test_structured_derivatives_forced_on_an_opaque_leaf():
    def f(params, x):
        return x @ jnp.cumsum(params["w"], axis=0)

    methods = {"w": "structured_derivatives"}
    params = {"w": np.ones((3, 2), np.float32)}
    message = refused(errors.MethodNotApplicableError, f, params, X, methods=methods)
    assert "parameter w" in message
    assert "cumsum" in message
    assert "jacobian_contraction" in message


def test_ntk_vector_products_through_a_custom_vjp():
    f, params, x1, _ = problem("plain_custom_vjp")
    message = refused(
        errors.MethodNotApplicableError, f, params, x1, methods="ntk_vector_products"
    )
    assert "custom_vjp" in message


@pytest.mark.parametrize(
    ("x2", "parts"),
    [
        (X[:, :2], ("x2", "[n, 2]", "[n, 3]")),
        (X[0], ("x2", "float32[3]", "wanted float32[")),
        (X.astype(np.int32), ("x2", "int32", "float32")),
        ({"x": X}, ("the tree of x2",)),
    ],
)
def test_x2_that_does_not_match_x1(x2, parts):
    message = refused(errors.MismatchedInputsError, model, PARAMS, X, x2)
    kernel = ntkplan.plan(model, PARAMS, X, X).compile()
    again = refusal(errors.MismatchedInputsError, kernel, PARAMS, X, x2)
    for part in parts:
        assert part in message
        assert part in again


def test_no_examples():
    message = refused(errors.MismatchedInputsError, model, PARAMS, X, X[:0])
    assert "the number of examples in x2: got 0, wanted at least 1" in message
    message = refused(errors.MismatchedInputsError, model, PARAMS, {})
    assert "arrays in x1: got none" in message
    kernel = ntkplan.plan(model, PARAMS, X).compile()
    for given in ((X[:0],), (X, X[:0])):
        message = refusal(errors.MismatchedInputsError, kernel, PARAMS, *given)
        assert "got 0, wanted at least 1" in message


def test_arrays_of_x_that_hold_different_numbers_of_examples():
    def f(params, x):
        return model(params, x["a"] + x["b"])

    message = refused(errors.MismatchedInputsError, f, PARAMS, {"a": X, "b": X[:4]})
    assert "x1['b']" in message
    assert "got 4, wanted 5" in message


def test_matched_pairs_need_as_many_examples():
    message = refused(
        errors.MismatchedInputsError, model, PARAMS, X, X[:4], pairs="matched"
    )
    assert "got 4, wanted 5" in message
    kernel = ntkplan.plan(model, PARAMS, X, X, pairs="matched").compile()
    again = refusal(errors.MismatchedInputsError, kernel, PARAMS, X, X[:4])
    assert "got 4, wanted 5" in again


def test_x_without_an_example_axis():
    message = refused(errors.NoExampleAxisError, model, PARAMS, np.float32(1.0))
    assert "batch_axis" in message


@pytest.mark.parametrize(
    ("params", "parts"),
    [
        ({**PARAMS, "w": jnp.ones((4, 4))}, ("params['w']", "[4, 4]", "[3, 4]")),
        ({**PARAMS, "w": jnp.ones((3, 4), int)}, ("params['w']", "int32", "float32")),
        ({"w": PARAMS["w"]}, ("the tree of params",)),
    ],
)
def test_params_that_do_not_match_the_planned_ones(params, parts):
    kernel = ntkplan.plan(model, PARAMS, X).compile()
    message = refusal(errors.MismatchedInputsError, kernel, params, X)
    for part in parts:
        assert part in message
    assert "plan again" in message


def test_examples_at_call_time_that_do_not_match_the_planned_ones():
    kernel = ntkplan.plan(model, PARAMS, X).compile()
    message = refusal(errors.MismatchedInputsError, kernel, PARAMS, X[:, :2])
    assert "float32[n, 2]" in message
    assert "float32[n, 3]" in message


def test_a_model_that_calls_back_into_python_cannot_be_saved(tmp_path):
    def f(params, x):
        h = x @ params["w"]
        shape = jax.ShapeDtypeStruct(h.shape, h.dtype)
        shift = jax.pure_callback(
            lambda h: np.sign(h),
            shape,
            jax.lax.stop_gradient(h),
            vmap_method="expand_dims",
        )
        return (h + shift) @ params["head"]["v"]

    with pytest.warns(errors.NtkPlanWarning):
        plan = ntkplan.plan(f, PARAMS, X)
    assert plan.compile()(PARAMS, X).shape == (5, 5, 2, 2)
    message = refusal(errors.UnprintableError, plan.save, tmp_path / "kernel.py")
    assert "pure_callback" in message
    assert not list(tmp_path.iterdir())


def test_other_sizes_are_whole_numbers_of_examples():
    plan = ntkplan.plan(model, PARAMS, X, methods="jacobian_contraction")
    for count in (0, -3, 2.5, 4.0, True, "4"):
        for name in ("n1", "n2"):
            with pytest.raises(errors.InvalidSizeError, match=f"{name} is {count!r}"):
                plan.at(**{name: count})
    assert plan.at(n1=np.int64(3)).n1 == 3
    assert plan.at(n1=None, n2=np.int32(2)).n2 == 2
