"""The example axis is followed through whole batches; what is proven is also tested."""

import warnings

import jax
import jax.numpy as jnp
import pytest

from ntkplan.errors import InteractingExamplesError, UndecidedIndependenceWarning
from ntkplan.trace.examples import Independent, Mixing, Undecided, follow_examples
from tests.cases import CASES, problem
from tests.trace.batches import WEIGHT, N, Traced, X, many, normal, of_data
from tests.trace.independent_functions import INDEPENDENT
from tests.trace.interacting_functions import MIXING, UNDECIDED


@pytest.mark.parametrize("name", INDEPENDENT)
def test_independent_examples_are_proven_so(name):
    function, *data = INDEPENDENT[name]
    traced = of_data(function, *data)
    verdict = traced.verdict()
    assert isinstance(verdict, Independent), (verdict.equation.primitive, verdict.why)
    assert set(verdict.output_axes) == {0}
    assert verdict.merged_outputs == ()
    assert traced.probe()


@pytest.mark.parametrize("name", MIXING)
def test_mixing_is_proven_and_named(name):
    function, data, primitive = MIXING[name]
    traced = of_data(function, data)
    verdict = traced.verdict()
    assert isinstance(verdict, Mixing), verdict
    assert verdict.equation.primitive.name == primitive
    assert not traced.probe()


@pytest.mark.parametrize("name", UNDECIDED)
def test_what_is_unclear_is_neither_proven_nor_refused_but_tested(name):
    function, data, independent = UNDECIDED[name]
    traced = of_data(function, data)
    verdict = traced.verdict()
    assert isinstance(verdict, Undecided), verdict
    assert verdict.why
    assert traced.probe() == independent


@pytest.mark.thinned(2)
@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_models_of_every_library_are_proven_independent(name):
    f, params, x1, _ = problem(name)
    traced = Traced(f, params, many(x1))
    verdict = traced.verdict()
    assert isinstance(verdict, Independent), (verdict.equation.primitive, verdict.why)
    assert verdict.output_axes == (0,)
    assert traced.probe()


def linen_with_batch_norm(*, train):
    nn = pytest.importorskip("flax.linen")

    class Network(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Dense(5)(x)
            x = nn.BatchNorm(use_running_average=not train)(x)
            return nn.Dense(2)(nn.relu(x))

    network = Network()
    variables = network.init(jax.random.key(0), X)

    def f(params, x):
        everything = {**variables, "params": params}
        if train:
            return network.apply(everything, x, mutable=["batch_stats"])[0]
        return network.apply(everything, x)

    return Traced(f, variables["params"], X)


def test_batch_norm_in_train_mode_is_refused_with_the_line():
    traced = linen_with_batch_norm(train=True)
    assert not traced.probe()
    with pytest.raises(InteractingExamplesError) as caught:
        traced.check(arrays=False)
    message = str(caught.value)
    assert "`reduce_sum` at normalization.py:" in message
    assert "it reduces over the axis of the examples" in message
    assert "reduce_sum(float32[13,5]) -> float32[5]" in message
    assert "batch_axis=None" in message
    assert "eval mode" in message


def test_batch_norm_in_eval_mode_is_independent():
    traced = linen_with_batch_norm(train=False)
    assert isinstance(traced.check(arrays=False), Independent)
    assert traced.probe()


def test_vmapped_modules_are_independent():
    equinox = pytest.importorskip("equinox")
    network = equinox.nn.MLP(6, 3, 8, 2, key=jax.random.key(0))
    params, static = equinox.partition(network, equinox.is_array)

    def f(params, x):
        return jax.vmap(equinox.combine(params, static))(x)

    traced = Traced(f, params, X)
    assert traced.verdict() == Independent(output_axes=(0,))
    assert traced.probe()


def test_output_axes_say_where_the_examples_are():
    traced = of_data(
        lambda x: (x.T, x.sum(1), jnp.ones(3), x.reshape(-1), jnp.ones((N, 2))), X
    )
    assert traced.verdict() == Independent(
        output_axes=(1, 0, None, 0, None), merged_outputs=(3,)
    )


def test_several_inputs_on_another_batch_axis():
    x, y = normal(6, N), normal(2, N, seed=1)
    traced = Traced(
        lambda p, both: jnp.tanh(p @ both["x"]) * both["y"].sum(0),
        WEIGHT,
        {"x": x, "y": y},
        batch_axis=1,
    )
    assert traced.verdict() == Independent(output_axes=(1,))
    assert traced.probe()


def test_inputs_without_the_examples_are_a_mistake():
    traced = of_data(jnp.sin, X)
    with pytest.raises(ValueError, match="without 12 examples on axis 0"):
        follow_examples(traced.body, n_examples=12, **traced.where)
    with pytest.raises(ValueError, match="two to interact"):
        follow_examples(traced.body, n_examples=1, **traced.where)


# A batch whose size divides other axes: nothing may be proven by mistaking them.
@pytest.mark.parametrize(
    ("function", "independent"),
    [
        (lambda x: x - x.mean(0), False),
        (lambda x: x - x.mean(1), False),
        (lambda x: x - x.mean(1, keepdims=True), True),
        (lambda x: x + x.T, False),
        (lambda x: (x.T @ jnp.ones((len(x), 4))).sum(1), False),
        (lambda x: x.reshape(-1).reshape(2, 4, -1).sum((0, 2)), False),
    ],
)
def test_axes_as_long_as_the_batch_are_not_taken_for_it(function, independent):
    traced = of_data(function, normal(4, 4))
    verdict = follow_examples(traced.body, n_examples=4, **traced.where)
    assert isinstance(verdict, Independent) == independent


def test_mixing_is_refused_with_the_users_line():
    traced = of_data(lambda x: x - x.mean(0), X)
    for arrays in (False, True):
        with pytest.raises(InteractingExamplesError, match=r"at test_examples\.py:\d+"):
            traced.check(arrays=arrays)


def test_unclear_and_found_dependent_is_refused():
    with pytest.raises(InteractingExamplesError) as caught:
        of_data(lambda x: x + jnp.roll(x, 1, 0), X).check(arrays=True)
    assert caught.value.primitive == "concatenate" or caught.value.primitive == "slice"
    assert "on the given arrays, an example's output changed" in str(caught.value)


def test_unclear_and_found_independent_is_said():
    with pytest.warns(UndecidedIndependenceWarning) as caught:
        verdict = of_data(lambda x: jnp.sin(x[::-1])[::-1], X).check(arrays=True)
    assert isinstance(verdict, Undecided)
    (warning,) = caught
    assert warning.message.tested
    assert warning.message.primitive == "rev"
    assert "tested on the given arrays and held, but is not proven" in str(
        warning.message
    )


def test_unclear_without_arrays_is_said_to_be_untested():
    with pytest.warns(UndecidedIndependenceWarning) as caught:
        of_data(lambda x: jnp.sin(x[::-1])[::-1], X).check(arrays=False)
    (warning,) = caught
    assert not warning.message.tested
    assert "neither proven nor tested" in str(warning.message)
    assert "Give arrays" in str(warning.message)


def test_outputs_may_have_the_examples_on_another_axis():
    traced = Traced(
        lambda _, x: jnp.sin(x.T[::-1])[::-1], (), normal(6, N), batch_axis=1
    )
    with pytest.warns(UndecidedIndependenceWarning, match="not proven"):
        traced.check(arrays=True)


def test_proven_is_silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        of_data(jnp.sin, X).check(arrays=True)
