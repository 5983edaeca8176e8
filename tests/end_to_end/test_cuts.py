"""Models that are cut where they are narrower than their outputs."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkplan
from ntkplan import assembly
from ntkplan.emit import lower
from ntkplan.errors import MemoryLimitError
from ntkplan.ir.program import Tiling
from ntkplan.planner import cuts
from ntkplan.trace import bottlenecks
from tests.cases import CASES, jacobians, problem
from tests.oracles import dense_kernel, kernel_of_jacobians, relative_error, x64

TOLERANCE = 1e-11
N1, N2 = 3, 2


@pytest.fixture
def forced(monkeypatch):
    """Cuts whatever can be cut, however wide and however slow."""
    monkeypatch.setattr(cuts, "NEEDED_GAIN", 0.0)
    monkeypatch.setattr(bottlenecks, "WIDEST", float("inf"))


def values(*shape, seed=0):
    """Returns numbers of order one."""
    scale = np.prod(shape[:-1]) ** -0.5 if len(shape) > 1 else 0.3
    return np.random.default_rng(seed + len(shape)).normal(size=shape) * scale


def examples(*shape, seed=5):
    """Returns `x1` and `x2`."""
    both = np.random.default_rng(seed).normal(size=(N1 + N2, *shape))
    return both[:N1], both[N1:]


def narrow(params, x):
    """Has 30 outputs behind 4 features."""
    hidden = jnp.tanh(x @ params["w0"] + params["b0"])
    return jnp.tanh(hidden @ params["w1"]) @ params["head"] + params["bias"]


NARROW = {
    "w0": values(5, 6),
    "b0": values(6),
    "w1": values(6, 4, seed=1),
    "head": values(4, 30),
    "bias": values(30),
}


def autoencoder(params, x):
    """Is narrowest in its middle, with an entrywise decoder around it."""
    code = jnp.tanh(x @ params["down"]) @ params["code"]
    return jnp.tanh(jnp.tanh(code) @ params["up"]) @ params["out"]


AUTOENCODER = {
    "down": values(8, 5),
    "code": values(5, 2),
    "up": values(2, 5),
    "out": values(5, 8, seed=2),
}


def tied(params, x):
    """Uses one weight on both sides of the bottleneck."""
    hidden = jnp.tanh(x @ params["w"]) @ params["down"]
    return jnp.sin(hidden @ params["up"]) @ params["w"]


TIED = {"w": values(8, 8), "down": values(8, 3), "up": values(3, 8, seed=4)}


def convolutional(params, x):
    """Pools to three features before its readout."""
    for name in ("c0", "c1"):
        x = jnp.tanh(
            jax.lax.conv_general_dilated(
                x,
                params[name],
                (1, 1),
                "SAME",
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )
        )
    return x.mean((1, 2)) @ params["head"]


CONVOLUTIONAL = {
    "c0": values(3, 3, 2, 4),
    "c1": values(3, 3, 4, 3),
    "head": values(3, 9),
}


def scanned(params, x):
    """Is a recurrence whose last state is read out."""

    def step(state, token):
        state = jnp.tanh(state @ params["w"] + token @ params["v"])
        return state, None

    start = jnp.zeros((x.shape[0], 3), x.dtype)
    last, _ = jax.lax.scan(step, start, jnp.moveaxis(x, 1, 0))
    return jnp.tanh(last) @ params["head"]


SCANNED = {"w": values(3, 3), "v": values(2, 3), "head": values(3, 7)}


def rows_of_outputs(params, x):
    """Has two axes of outputs, behind a matrix of features without an example axis."""
    hidden = jnp.tanh(jnp.einsum("nab,bc->nac", x, params["w"]))
    return jnp.einsum("nac,cd->nad", jnp.sin(hidden), params["head"])


ROWS = {"w": values(3, 2), "head": values(2, 5)}

MODELS = {
    "narrow": (narrow, NARROW, examples(5)),
    "autoencoder": (autoencoder, AUTOENCODER, examples(8)),
    "tied": (tied, TIED, examples(8)),
    "convolutional": (convolutional, CONVOLUTIONAL, examples(4, 4, 2)),
    "scanned": (scanned, SCANNED, examples(4, 2)),
    "rows_of_outputs": (rows_of_outputs, ROWS, examples(4, 3)),
}

# Kernel, whether there is an `x2`, and whether pairs are matched.
WAYS = (
    ("full", True, False),
    ("trace", False, False),
    ("diagonal", True, False),
    ("full", False, True),
    ("trace", True, False),
    ("full", False, False),
    ("diagonal", False, False),
    ("trace", False, True),
)
COVERING = tuple(zip(MODELS, itertools.cycle(WAYS), strict=False))
REST = tuple(sorted(set(itertools.product(MODELS, WAYS)) - set(COVERING)))


def assert_right(model, params, x1, x2=None, **options):
    """Plans in float64, compares with the dense kernel and returns the plan.

    Raises:
        AssertionError: The kernel is another, or the model is not cut.
    """
    with x64():
        plan = ntkplan.plan(model, params, x1, x2, **options)
        assert plan.notes
        got = plan.compile()(params, x1, x2)
        options = {
            name: options[name]
            for name in ("kernel", "pairs", "wrt", "trace_axes", "diagonal_axes")
            if name in options
        }
        wanted = dense_kernel(model, params, x1, x2, **options)
    assert relative_error(got, wanted) < TOLERANCE
    return plan


def in_a_way(name, way):
    """Plans a model with a cut, in one way."""
    kernel, crossed, matched = way
    model, params, (x1, x2) = MODELS[name]
    pairs = "matched" if matched else "all"
    x2 = x2 if crossed else None
    return assert_right(model, params, x1, x2, kernel=kernel, pairs=pairs)


@pytest.mark.usefixtures("forced")
@pytest.mark.parametrize(("name", "way"), COVERING, ids=str)
def test_kernels_of_models_that_are_cut(name, way):
    plan = in_a_way(name, way)
    assert {layer.path for layer in plan.layers} == set(MODELS[name][1])


@pytest.mark.slow
@pytest.mark.usefixtures("forced")
@pytest.mark.parametrize(("name", "way"), REST, ids=str)
def test_kernels_in_every_other_way(name, way):
    in_a_way(name, way)


@pytest.mark.slow
@pytest.mark.usefixtures("forced")
@pytest.mark.parametrize(
    ("name", "kernel"),
    [
        (case.name, kernel)
        for case, kernel in zip(
            CASES, itertools.cycle(("full", "trace", "diagonal")), strict=False
        )
    ],
)
def test_kernels_of_all_models_that_are_cut(name, kernel):
    f, params, x1, x2 = problem(name)
    plan = ntkplan.plan(f, params, x1, x2, kernel=kernel)
    assert plan.notes
    wanted = kernel_of_jacobians(*jacobians(name), kernel)
    assert relative_error(plan.compile()(params, x1, x2), wanted) < 2e-5


def test_a_narrow_model_is_cut_by_itself_and_says_so():
    """Ten layers are 64 wide, before 500 outputs of a readout that is fixed."""
    params = [values(64, 64, seed=seed).astype(np.float32) for seed in range(10)]
    head = values(64, 500).astype(np.float32)

    def model(params, x):
        for weight in params:
            x = jnp.tanh(x @ weight)
        return x @ head

    x1 = jax.ShapeDtypeStruct((8, 64), jnp.float32)
    plan = ntkplan.plan(model, params, x1, device="x86_64_cpu")
    assert "with 64 values: Theta = G Theta_cut G^T" in str(plan)
    assert "times faster than without" in str(plan)
    assert all("values at the cut" in layer.why for layer in plan.layers)
    assert "hidden" in plan.source()
    assert "values at the cut" in plan.explain("3")


@pytest.mark.slow
def test_a_model_with_few_features_is_cut_by_itself_and_right():
    model, params, (x1, x2) = MODELS["narrow"]
    params |= {"head": values(4, 300), "bias": values(300)}
    assert_right(model, params, x1, x2, device="x86_64_cpu")


def test_what_is_no_narrower_is_not_cut():
    def model(params, x):
        return jnp.tanh(jnp.tanh(x @ params["w0"]) @ params["w1"]) @ params["head"]

    params = {"w0": values(5, 20), "w1": values(20, 20), "head": values(20, 10)}
    x1, _ = examples(5)
    assert not ntkplan.plan(model, params, x1).notes


@pytest.mark.usefixtures("forced")
def test_one_vector_of_the_basis_is_never_behind_something_narrower(monkeypatch):
    monkeypatch.setattr(bottlenecks, "WIDEST", 1.0)
    model, params, (x1, _) = MODELS["narrow"]
    assert not ntkplan.plan(model, params, x1, kernel="sum_of_logits").notes


@pytest.mark.usefixtures("forced")
@pytest.mark.parametrize(
    "method",
    ["jacobian_contraction", "structured_derivatives", "ntk_vector_products"],
)
def test_one_method_for_all_leaves_stays_what_it_is(method):
    model, params, (x1, _) = MODELS["narrow"]
    plan = ntkplan.plan(model, params, x1, methods=method)
    assert not plan.notes
    assert {layer.method for layer in plan.layers} == {method}


@pytest.mark.usefixtures("forced")
def test_methods_are_forced_on_leaves_before_and_after_the_cut():
    model, params, (x1, x2) = MODELS["narrow"]
    methods = {"w0": "ntk_vector_products", "head": "jacobian_contraction"}
    plan = assert_right(model, params, x1, x2, methods=methods)
    found = {layer.path: layer.method for layer in plan.layers}
    assert methods.items() <= found.items()


@pytest.mark.usefixtures("forced")
def test_a_leaf_with_a_way_around_the_cut_stays_outside():
    model, params, (x1, x2) = MODELS["tied"]
    plan = assert_right(model, params, x1, x2)
    behind = {layer.path for layer in plan.layers if "at the cut" in layer.why}
    assert behind == {"down"}


@pytest.mark.usefixtures("forced")
def test_a_model_may_have_no_leaf_after_the_cut():
    model, params, (x1, x2) = MODELS["narrow"]
    assert_right(model, params, x1, x2, wrt=lambda path, _: path in ("w0", "b0"))


@pytest.mark.usefixtures("forced")
@pytest.mark.parametrize(
    "outputs", [2, pytest.param(None, marks=pytest.mark.slow)], ids=str
)
def test_the_kernel_of_the_cut_may_be_in_tiles(monkeypatch, outputs):
    tiling = Tiling(rows=2, columns=1, outputs=outputs, keeps=outputs is None)

    def tiled(*arguments, title, **options):
        if "values at the cut" in title:
            options["tiling"] = tiling
        return lower.lower(*arguments, title=title, **options)

    monkeypatch.setattr(assembly, "lower", tiled)
    model, params, (x1, x2) = MODELS["convolutional"]
    plan = assert_right(model, params, x1, x2)
    assert "over_tiles" in plan.source()


@pytest.mark.usefixtures("forced")
def test_a_batch_whose_examples_interact_is_cut():
    def model(params, x):
        hidden = x @ params["w0"]
        hidden = (hidden - hidden.mean(0)) / jnp.sqrt(hidden.var(0) + 0.1)
        return jnp.tanh(hidden @ params["w1"]) @ params["head"]

    params = {"w0": values(5, 6), "w1": values(6, 2), "head": values(2, 4)}
    x1, _ = examples(5)
    plan = assert_right(model, params, x1, x1[::-1] * 2, batch_axis=None)
    assert "with 6 values" in plan.notes[0]


@pytest.mark.usefixtures("forced")
def test_every_output_of_a_tree_has_a_cut_of_its_own():
    def model(params, x):
        hidden = jnp.tanh(x @ params["w0"]) @ params["w1"]
        return {
            "hidden": jnp.tanh(hidden) @ params["a"],
            "other": jnp.sin(hidden) @ params["b"],
        }

    params = {
        "w0": values(4, 5),
        "w1": values(5, 2),
        "a": values(2, 3),
        "b": values(2, 6, seed=3),
    }
    x1, x2 = examples(4)
    with x64():
        plan = ntkplan.plan(model, params, x1, x2)
        got = plan.compile()(params, x1, x2)
        for name in ("hidden", "other"):
            assert plan.outputs[name].notes
            wanted = dense_kernel(lambda p, x, n=name: model(p, x)[n], params, x1, x2)
            assert relative_error(got[name], wanted) < TOLERANCE


@pytest.mark.slow
@pytest.mark.usefixtures("forced")
def test_half_precision_adds_up_in_single_precision():
    model, params, (x1, x2) = MODELS["narrow"]
    half = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.bfloat16), params)
    x1, x2 = jnp.asarray(x1, jnp.bfloat16), jnp.asarray(x2, jnp.bfloat16)
    plan = ntkplan.plan(model, half, x1, x2)
    assert plan.notes
    got = plan.compile()(half, x1, x2)
    assert got.dtype == jnp.float32
    assert relative_error(got, dense_kernel(model, half, x1, x2)) < 5e-2


@pytest.mark.usefixtures("forced")
def test_other_sizes_and_formulas_of_a_plan_with_a_cut():
    model, params, (x1, x2) = MODELS["narrow"]
    with x64():
        plan = ntkplan.plan(model, params, x1, x2)
        larger = plan.at(n1=50, n2=40)
        assert larger.notes
        got = larger.compile()(params, x1, x2)
        assert relative_error(got, dense_kernel(model, params, x1, x2)) < TOLERANCE
    symbolic = larger.symbolic
    assert set(symbolic.layers) == set(params)
    numbers = {"n1": 50, "n2": 40, "n_outputs": 30}
    named = {
        symbol: numbers[symbol.name] for symbol in symbolic.total.flops.free_symbols
    }
    assert symbolic.cut.flops.subs(named) > 0
    assert symbolic.total.flops.subs(named) == pytest.approx(larger.cost.flops)


@pytest.mark.usefixtures("forced")
def test_a_cut_keeps_to_the_memory_limit():
    model, params, (x1, _) = MODELS["narrow"]
    plan = ntkplan.plan(model, params, x1)
    assert plan.notes
    assert plan.cost.peak_bytes <= plan.cost.memory_limit_bytes
    with pytest.raises(MemoryLimitError):
        ntkplan.plan(model, params, x1, memory_limit=1_000)


@pytest.mark.slow
@pytest.mark.usefixtures("forced")
def test_a_plan_with_a_cut_is_saved_and_transformed(tmp_path):
    model, params, (x1, x2) = MODELS["narrow"]
    params = jax.tree.map(lambda leaf: leaf.astype(np.float32), params)
    x1, x2 = x1.astype(np.float32), x2.astype(np.float32)
    plan = ntkplan.plan(model, params, x1, x2)
    text = plan.save(tmp_path / "kernel.py").read_text()
    assert text.index("def kernel_hidden") < text.index("def kernel(")
    kernel = plan.compile()
    batched = jax.vmap(lambda x: kernel(params, x, x2))(jnp.stack([x1, 2 * x1]))
    assert relative_error(batched[0], kernel(params, x1, x2)) < 1e-5
    gradient = jax.grad(lambda p: kernel(p, x1, x2).sum())(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
