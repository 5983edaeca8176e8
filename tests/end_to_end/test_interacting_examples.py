"""Models whose examples interact: refused, or the kernel of the whole batch."""

from __future__ import annotations

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkplan
from ntkplan import errors
from tests.end_to_end.matrix import methods_option
from tests.oracles import dense_kernel, leaf_names, relative_error, x64

RNG = np.random.default_rng(21)
PARAMS = {
    "w": RNG.normal(size=(3, 5)),
    "g": 1.0 + 0.3 * RNG.normal(size=5),
    "b": RNG.normal(size=5),
    "head": RNG.normal(size=(5, 2)),
}
X1, X2 = RNG.normal(size=(2, 4, 3))


def batch_norm(params, x):
    hidden = x @ params["w"]
    mean = hidden.mean(axis=0)  # batch norm
    hidden = (hidden - mean) * jax.lax.rsqrt(hidden.var(axis=0) + 0.1)
    return jnp.tanh(hidden * params["g"] + params["b"]) @ params["head"]


def attention_in_the_batch(params, x):
    hidden = jnp.tanh(x @ params["w"] + params["b"])
    scores = (hidden * params["g"]) @ hidden.T
    weights = jax.nn.softmax(scores)  # attention
    return weights @ hidden @ params["head"]


def softmax_over_the_batch(params, x):
    hidden = x @ params["w"] * params["g"] + params["b"]
    hidden = jax.nn.softmax(hidden, axis=0)  # softmax
    return hidden @ params["head"]


def sorted_batch(params, x):
    hidden = x @ params["w"] * params["g"] + params["b"]
    hidden = jnp.sort(hidden, axis=0)  # sort
    return jnp.sin(hidden) @ params["head"]


def cumulated_batch(params, x):
    hidden = jnp.tanh(x @ params["w"]) * params["g"] + params["b"]
    hidden = jnp.cumsum(hidden, axis=0)  # cumsum
    return jnp.sin(hidden) @ params["head"]


def shifted_batch(params, x):
    hidden = jnp.tanh(x @ params["w"]) * params["g"] + params["b"]
    hidden = hidden * jnp.roll(hidden, 1, axis=0)  # roll
    return hidden @ params["head"]


def contrasted_with_the_first(params, x):
    hidden = jnp.tanh(x @ params["w"]) * params["g"] + params["b"]
    hidden = hidden - hidden[:1]  # contrast
    return jnp.sin(hidden) @ params["head"]


# The model, what marks the line that mixes, and the primitive named.
MODELS = [
    (batch_norm, "# batch norm", "reduce_sum"),
    (attention_in_the_batch, "# attention", "reduce_sum"),
    (softmax_over_the_batch, "# softmax", "reduce_sum"),
    (sorted_batch, "# sort", "sort"),
    (cumulated_batch, "# cumsum", "cumsum"),
    (shifted_batch, "# roll", "slice"),
    (contrasted_with_the_first, "# contrast", "slice"),
]


def line_of(mark: str) -> str:
    """Returns `file.py:41` for the only line of this file that ends so."""
    lines = inspect.getsource(inspect.getmodule(batch_norm)).splitlines()
    (number,) = [n for n, line in enumerate(lines, 1) if line.endswith(f"  {mark}")]
    return f"test_interacting_examples.py:{number}"


@pytest.mark.parametrize(("model", "mark", "primitive"), MODELS)
def test_equation_that_mixes_examples_is_named_with_its_line(model, mark, primitive):
    with pytest.raises(errors.InteractingExamplesError) as caught:
        ntkplan.plan(model, PARAMS, X1)
    assert f"`{primitive}` at {line_of(mark)}" in str(caught.value)
    assert f"\n  {primitive}(float32[1009," in str(caught.value)
    assert "batch_axis=None" in str(caught.value)


def test_line_is_that_of_the_call_where_jax_jits_the_function():
    """Wherever the function was called before, and in a jitted part of the model."""

    @jax.jit
    def part(hidden):
        return jnp.cumsum(hidden * 2.0, axis=0)  # part

    def model(params, x):
        return part(x @ params["w"]) @ params["head"]

    ntkplan.plan(cumulated_batch, PARAMS, X1, batch_axis=None)
    with pytest.raises(errors.InteractingExamplesError) as caught:
        ntkplan.plan(model, PARAMS, X1)
    source = caught.value.source
    assert f"test_interacting_examples.py:{source.line}" == line_of("# part")
    assert source.file == __file__


@pytest.mark.parametrize(
    "scale", [lambda n: 1 / n, lambda n: n, lambda n: np.sqrt(n), lambda n: n**-0.5]
)
def test_number_of_examples_is_no_part_of_a_model(scale):
    """It is one while the model is traced, so that the kernel would be wrong."""

    def model(params, x):
        hidden = jnp.tanh(x @ params["w"]) @ params["head"]
        return hidden * scale(x.shape[0])  # count

    with pytest.raises(errors.InteractingExamplesError) as caught:
        ntkplan.plan(model, PARAMS, X1)
    assert f"`mul` at {line_of('# count')}: it computes with" in str(caught.value)

    def alike(params, x):
        return jnp.tanh(x @ params["w"]).reshape(x.shape[0], 5) * scale(1008)

    ntkplan.plan(alike, PARAMS, X1)


@pytest.mark.parametrize(
    ("model", "kernel", "pairs", "method", "cross"),
    [
        (batch_norm, "full", "all", "mixed", True),
        pytest.param(
            batch_norm,
            "diagonal",
            "matched",
            "structured_derivatives",
            False,
            marks=pytest.mark.slow,
        ),
        (attention_in_the_batch, "full", "all", "structured_derivatives", True),
        pytest.param(
            attention_in_the_batch,
            "trace",
            "all",
            "ntk_vector_products",
            True,
            marks=pytest.mark.slow,
        ),
        (attention_in_the_batch, "full", "matched", "jacobian_contraction", False),
        (softmax_over_the_batch, "trace", "matched", "chosen", True),
        (sorted_batch, "full", "all", "ntk_vector_products", True),
        pytest.param(
            sorted_batch,
            "diagonal",
            "all",
            "ntk_vector_products",
            False,
            marks=pytest.mark.slow,
        ),
        (cumulated_batch, "full", "all", "chosen", True),
        (shifted_batch, "trace", "all", "structured_derivatives", True),
        (contrasted_with_the_first, "diagonal", "all", "mixed", True),
    ],
)
def test_whole_batch_is_the_dense_jacobians(model, kernel, pairs, method, cross):
    options = {"kernel": kernel, "pairs": pairs}
    x2 = X2 if cross else None
    with x64():
        plan = ntkplan.plan(
            model,
            PARAMS,
            X1,
            x2,
            batch_axis=None,
            methods=methods_option(method, leaf_names(PARAMS)),
            **options,
        )
        got = plan.compile()(PARAMS, X1, x2)
    wanted = dense_kernel(model, PARAMS, X1, x2, **options)
    assert relative_error(got, wanted) < 1e-12


def test_whole_batch_planned_without_x2_takes_one():
    with x64():
        kernel = ntkplan.plan(batch_norm, PARAMS, X1, batch_axis=None).compile()
        got = kernel(PARAMS, X1, X2)
    assert relative_error(got, dense_kernel(batch_norm, PARAMS, X1, X2)) < 1e-12


def test_check_of_a_whole_batch():
    plan = ntkplan.plan(batch_norm, PARAMS, X1, batch_axis=None, kernel="trace")
    assert ntkplan.check(plan, batch_norm, PARAMS, X1).n_examples == len(X1)


def test_whole_batch_of_another_size_is_refused_with_the_reason():
    with pytest.raises(errors.MismatchedInputsError) as planned:
        ntkplan.plan(batch_norm, PARAMS, X1, X2[:3], batch_axis=None)
    kernel = ntkplan.plan(batch_norm, PARAMS, X1, X2, batch_axis=None).compile()
    with pytest.raises(errors.MismatchedInputsError) as called:
        kernel(PARAMS, X1, X2[:3])
    for caught in (planned, called):
        message = str(caught.value)
        assert message.startswith("x2: got float")
        assert "[3, 3], wanted float32[4, 3]" in message
        assert "With batch_axis=None the batch as a whole is one input" in message
        assert "plan again with a batch of this size" in message


def test_whole_batch_has_no_sum_of_logits_and_no_tiles():
    with pytest.raises(errors.ConflictingOptionsError, match="sum_of_logits"):
        ntkplan.plan(batch_norm, PARAMS, X1, batch_axis=None, kernel="sum_of_logits")
    kernel = ntkplan.plan(batch_norm, PARAMS, X1[:2], batch_axis=None).compile()
    with pytest.raises(errors.InvalidTilesError, match="of a whole batch"):
        ntkplan.kernel_in_tiles(kernel, PARAMS, X1, tile1=2)


def test_one_interacting_output_of_a_tree_is_refused():
    def model(params, x):
        return {"alone": x @ params["w"], "mixed": batch_norm(params, x)}

    with pytest.raises(errors.InteractingExamplesError) as caught:
        ntkplan.plan(model, PARAMS, X1)
    assert line_of("# batch norm") in str(caught.value)


def test_model_that_does_something_else_for_a_batch_is_refused():
    def f(params, x):
        hidden = x @ params["w"]
        return jnp.tanh(hidden) if len(x) == 1 else hidden

    with pytest.raises(errors.OutputError) as caught:
        ntkplan.plan(f, {"w": PARAMS["w"]}, X1.astype(np.float32))
    assert "something else for 4 examples than for one" in str(caught.value)


def test_squeeze_that_takes_the_example_axis_says_how_the_model_is_traced():
    def f(params, x):
        return (x @ params["w"][:, :1]).squeeze()[:, None] * params["b"]

    with pytest.raises(errors.TracingError, match="one example at a time") as caught:
        ntkplan.plan(f, PARAMS, X1.astype(np.float32))
    assert isinstance(caught.value.__cause__, IndexError)
