"""What unrolling, checkpoints, branches and absent leaves do to a kernel's program."""

from __future__ import annotations

import ast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import ntkplan
from ntkplan import NtkPlanError
from tests.oracles import dense_kernel, relative_error, x64

TOLERANCE = 1e-10


def normal(seed, **shapes):
    """Returns float64 arrays that keep what is multiplied by them near one."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.normal(size=shape) / np.sqrt(shape[0])
        for name, shape in shapes.items()
    }


def examples(*shape):
    return np.random.default_rng(7).normal(size=shape)


def assert_right(kernel, f, params, x, **options):
    with x64():
        got = kernel(params, x)
    assert relative_error(got, dense_kernel(f, params, x, **options)) < TOLERANCE


def unrolled(params, x):
    """A recurrence with a product, a bias and a read-out at every step."""
    state, outputs = jnp.zeros((len(x), 4), x.dtype), 0.0
    for entry in x.swapaxes(0, 1):
        state = jnp.tanh(entry @ params["inward"] + state @ params["w"] + params["b"])
        outputs = outputs + state @ params["head"]
    return outputs


def lines_of_functions(source):
    """Returns how many lines every function of a module has."""
    return {
        item.name: item.end_lineno - item.lineno + 1
        for item in ast.parse(source).body
        if isinstance(item, ast.FunctionDef) and item.end_lineno is not None
    }


def test_kernel_function_of_an_unrolled_recurrence_is_as_long_for_any_steps():
    """The forward pass grows with the steps, and nothing with their square.

    Where there are many steps, they are a loop.
    """
    params = normal(1, inward=(3, 4), w=(4, 4), b=(4,), head=(4, 2))
    kernel, total = {}, {}
    for n_steps in (6, 12, 24, 48):
        with x64():
            plan = ntkplan.plan(unrolled, params, examples(3, n_steps, 3))
        lines = lines_of_functions(plan.source())
        kernel[n_steps], total[n_steps] = lines["kernel"], sum(lines.values())
    assert kernel[6] == kernel[12]
    assert kernel[24] == kernel[48]
    per_step = (total[12] - total[6]) / 6
    assert 0 < per_step < 15
    assert (total[48] - total[24]) / 24 <= per_step


def layers(wrapped):
    """Returns a model of wide layers, each of which has much to remember."""

    def layer(hidden, weight):
        hidden = hidden @ weight
        for _ in range(12):
            hidden = jnp.sin(hidden) + jnp.cos(hidden) * hidden
        return 0.1 * hidden

    def f(params, x):
        applied = wrapped(layer)
        hidden, _ = lax.scan(lambda h, w: (applied(h, w), None), x, params["w"])
        return hidden @ params["head"]

    return f


@pytest.mark.optimised
def test_memory_that_a_checkpoint_saves_stays_saved():
    params = normal(2, w=(6, 128, 128), head=(128, 1))
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), params)
    x = jnp.asarray(examples(64, 128), jnp.float32)
    needed_bytes = []
    for wrapped in (lambda layer: layer, jax.checkpoint):
        plan = ntkplan.plan(
            layers(wrapped), params, x, kernel="trace", methods="structured_derivatives"
        )
        compiled = jax.jit(plan.compile()).lower(params, x).compile()
        analysis = compiled.memory_analysis()
        assert analysis is not None
        needed_bytes.append(analysis.temp_size_in_bytes)
    assert needed_bytes[0] > 4 * needed_bytes[1]


def test_a_leaf_that_is_cut_away_adds_nothing_and_is_listed():
    """Half of what is joined is dropped again, and with it a leaf."""

    def f(params, x):
        joined = jnp.concatenate([params["used"], params["dropped"]], axis=1)
        kept, _ = jnp.split(joined, [4], axis=1)
        return jnp.tanh(x @ kept) @ params["head"][:, :2]

    params = normal(3, used=(3, 4), dropped=(3, 5), head=(4, 6))
    x = examples(3, 3)
    with x64():
        plan = ntkplan.plan(f, params, x)
        with pytest.raises(NtkPlanError, match="the kernel is zero"):
            ntkplan.plan(f, params, x, wrt=lambda path, leaf: path == "dropped")
    found = {layer.path: layer for layer in plan.layers}
    assert found["dropped"].method == "none"
    assert found["dropped"].n_uses == 0
    assert found["dropped"].rules == ()
    assert {found["used"].rules, found["head"].rules} == {("dot_general",)}
    assert "dropped" in str(plan)
    assert_right(plan.compile(), f, params, x)


@pytest.mark.parametrize(
    ("taken", "other", "sign", "method"),
    [
        ("w", "u", 1.0, "jacobian_contraction"),
        ("u", "w", -1.0, "structured_derivatives"),
    ],
)
def test_what_a_branch_that_is_not_taken_records_is_zero(taken, other, sign, method):
    """One kernel is right for both branches; the root of the one not taken is NaN."""

    def f(params, x):
        hidden = lax.cond(
            params["sign"] > 0,
            lambda x: (
                jnp.tanh(x @ params["w"]) * jnp.sqrt(params["g"] + params["sign"])
            ),
            lambda x: jnp.sin(x @ params["u"]) * jnp.sqrt(params["g"] - params["sign"]),
            x,
        )
        return hidden @ params["head"]

    params = normal(4, w=(3, 3), u=(3, 3), head=(3, 2))
    params |= {"g": np.full(3, 0.5), "sign": np.asarray(sign)}
    x = examples(3, 3)

    def differentiated(path, leaf):
        return path != "sign"

    with x64():
        kernel = ntkplan.plan(
            f, params, x, wrt=differentiated, methods=method
        ).compile()
        of_taken = ntkplan.ntk(f, params, x, wrt=lambda path, leaf: path == taken)
        of_other = ntkplan.ntk(f, params, x, wrt=lambda path, leaf: path == other)
    for each in (sign, -sign):
        given = params | {"sign": np.asarray(each)}
        assert_right(kernel, f, given, x, wrt=differentiated)
    assert np.any(of_taken)
    assert np.all(np.asarray(of_other) == 0)


def test_steps_that_do_not_take_a_branch_add_nothing_for_its_leaves():
    """Of three steps of a loop the second alone uses a leaf."""

    def looped(params, x):
        def step(hidden, count):
            hidden = lax.cond(
                count == 1,
                lambda h: jnp.tanh(h @ params["w"]),
                lambda h: jnp.sin(h) + params["b"],
                hidden,
            )
            return hidden, None

        return lax.scan(step, x, jnp.arange(3))[0] @ params["head"]

    def written_out(params, x):
        hidden = jnp.tanh((jnp.sin(x) + params["b"]) @ params["w"])
        return (jnp.sin(hidden) + params["b"]) @ params["head"]

    params = normal(5, w=(3, 3), b=(3,), head=(3, 2))
    x = examples(3, 3)
    with x64():
        plan = ntkplan.plan(looped, params, x)
        got, wanted = plan.compile()(params, x), ntkplan.ntk(written_out, params, x)
    rules = {layer.path: layer.rules for layer in plan.layers}
    assert rules["w"] == ("dot_general",)
    assert rules["b"] == ("add",)
    assert relative_error(got, wanted) < TOLERANCE
    assert_right(plan.compile(), looped, params, x)


def layers_stacked_in_the_model(params, x):
    """A list of layers that the model itself stacks, to scan over them."""

    def layer(state, parts):
        weight, bias = parts
        return jnp.tanh(state @ weight + bias), None

    stacks = (jnp.stack(params["weights"]), jnp.stack(params["biases"]))
    state, _ = lax.scan(layer, x, stacks)
    return state @ params["head"]


def test_layers_that_are_stacked_in_the_model_keep_their_structure():
    layers = normal(5, w=(6, 3, 3), b=(6, 3), head=(3, 2))
    params = {
        "weights": list(layers["w"]),
        "biases": list(layers["b"]),
        "head": layers["head"],
    }
    x = examples(4, 3)
    with x64():
        plan = ntkplan.plan(
            layers_stacked_in_the_model,
            params,
            x,
            methods=("jacobian_contraction", "structured_derivatives"),
        )
    assert all(layer.rules != ("opaque",) for layer in plan.layers)
    assert_right(plan.compile(), layers_stacked_in_the_model, params, x)


def test_a_loop_that_is_vectorized_over_examples_may_stop_at_different_steps():
    def decayed(entry):
        return lax.while_loop(
            lambda state: state[0] < jnp.abs(entry).sum(),
            lambda state: (state[0] + 1, state[1] * 0.9),
            (0.0, 1.0),
        )[1]

    def f(params, x):
        return jnp.tanh(x @ params["w"]) * jax.vmap(decayed)(x)[:, None]

    params, x = normal(6, w=(3, 2)), examples(4, 3)
    with x64():
        kernel = ntkplan.plan(f, params, x).compile()
    assert_right(kernel, f, params, x)


def test_a_derivative_that_is_stopped_may_be_behind_a_while():
    """A fixed point by iteration, and the one step that is differentiated."""

    def f(params, x):
        def step(state):
            return jnp.tanh(state @ params["w"] + x)

        _, state = lax.while_loop(
            lambda state: state[0] < 8,
            lambda state: (state[0] + 1, step(state[1])),
            (0, x),
        )
        return step(lax.stop_gradient(state))

    params, x = normal(8, w=(3, 3)), examples(4, 3)
    with x64():
        plan = ntkplan.plan(f, params, x)
    assert plan.layers[0].rules == ("dot_general",)
    assert_right(plan.compile(), f, params, x)
