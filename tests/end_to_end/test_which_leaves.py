"""`wrt=`, leaves that add nothing, and leaves that have no derivative."""

from __future__ import annotations

import re

import flax.linen
import haiku
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import ntkplan
from ntkplan import errors
from tests.end_to_end.matrix import methods_option
from tests.oracles import cast_floats, dense_kernel, leaf_names, relative_error, x64

WIDTH, RANK = 5, 2


def layer_params(rng):
    return {
        "w": rng.normal(size=(WIDTH, WIDTH)) / 2,
        "lora": {
            "a": rng.normal(size=(WIDTH, RANK)),
            "b": rng.normal(size=(RANK, WIDTH)),
        },
        "bias": rng.normal(size=WIDTH),
    }


def adapted(params, tokens):
    """An embedding, two adapted layers, and a head; `spare` is used nowhere."""
    hidden = jnp.asarray(params["embedding"])[tokens]
    for layer in params["layers"]:
        weight = layer["w"] + 0.5 * layer["lora"]["a"] @ layer["lora"]["b"]
        hidden = jnp.tanh(hidden @ weight + layer["bias"])
    return hidden.mean(axis=1) @ params["head"] + params["head_bias"]


def adapted_problem():
    rng = np.random.default_rng(11)
    params = {
        "embedding": rng.normal(size=(7, WIDTH)),
        "layers": [layer_params(rng), layer_params(rng)],
        "head": rng.normal(size=(WIDTH, 3)),
        "head_bias": rng.normal(size=3),
        "spare": {"w": rng.normal(size=(2, 2))},
    }
    return params, rng.integers(7, size=(4, 3)), rng.integers(7, size=(2, 3))


CHOICES = {
    "lora": (lambda path, leaf: "lora" in path.split("/"), 4),
    "biases": (lambda path, leaf: path.endswith("bias"), 3),
    "no_embedding": (lambda path, leaf: path != "embedding", 11),
    "weights": (lambda path, leaf: leaf.ndim == 2 and path.endswith("w"), 3),
    "one": (lambda path, leaf: path == "layers/1/lora/b", 1),
}


@pytest.mark.parametrize(
    ("choice", "kernel", "method", "cross"),
    [
        ("lora", "full", "chosen", True),
        ("lora", "trace", "ntk_vector_products", False),
        ("biases", "full", "structured_derivatives", False),
        ("no_embedding", "diagonal", "mixed", True),
        pytest.param(
            "weights", "full", "jacobian_contraction", True, marks=pytest.mark.slow
        ),
        ("one", "sum_of_logits", "chosen", False),
    ],
)
def test_wrt_chooses_by_path_and_leaf(choice, kernel, method, cross):
    params, x1, x2 = adapted_problem()
    x2 = x2 if cross else None
    wrt, count = CHOICES[choice]
    with x64():
        plan = ntkplan.plan(
            adapted,
            params,
            x1,
            x2,
            wrt=wrt,
            kernel=kernel,
            methods=methods_option(method, leaf_names(params)),
        )
        got = plan.compile()(params, x1, x2)
    assert len(plan.layers) == count
    assert all(layer.path in leaf_names(params) for layer in plan.layers)
    wanted = dense_kernel(adapted, params, x1, x2, kernel=kernel, wrt=wrt)
    assert relative_error(got, wanted) < 1e-12


def test_wrt_is_asked_of_shapes_too():
    params, *_ = adapted_problem()
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, np.float32), params)
    asked = []

    def wrt(path, leaf):
        asked.append((path, leaf.shape, str(leaf.dtype)))
        return leaf.ndim == 1

    plan = ntkplan.plan(
        adapted, shapes, jax.ShapeDtypeStruct((4, 3), np.int32), wrt=wrt
    )
    assert [layer.path for layer in plan.layers] == [
        "head_bias",
        "layers/0/bias",
        "layers/1/bias",
    ]
    names = leaf_names(params)
    leaves = jax.tree.leaves(params)
    assert asked == [
        (n, a.shape, "float32") for n, a in zip(names, leaves, strict=True)
    ]


def test_leaves_that_the_output_does_not_depend_on_are_listed_and_add_nothing():
    params = {
        "w": np.random.default_rng(0).normal(size=(3, 4)),
        "never_read": np.ones((2, 2)),
        "multiplied_away": np.ones(4),
        "stopped": np.ones(4),
        "only_compared": np.ones(4),
    }

    def f(params, x):
        hidden = jnp.tanh(x @ params["w"])
        hidden = hidden * jax.lax.stop_gradient(params["stopped"])
        return hidden + (params["only_compared"] > 0) + 0.0 * params["multiplied_away"]

    x = np.random.default_rng(1).normal(size=(3, 3))
    plan = ntkplan.plan(f, params, x)
    by_path = {layer.path: layer for layer in plan.layers}
    assert set(by_path) == set(params)
    for path in ("never_read", "stopped", "only_compared"):
        layer = by_path[path]
        assert (layer.method, layer.n_uses, layer.chosen.seconds) == ("none", 0, 0.0)
        assert "does not depend on it" in layer.why
        (row,) = [line for line in str(plan).splitlines() if line.startswith(path)]
        assert "does not depend" in row
        assert path in plan.explain(path)
    got = ntkplan.ntk(f, params, x)
    assert relative_error(got, dense_kernel(f, params, x)) < 2e-5
    for path in ("never_read", "stopped"):
        with pytest.raises(errors.OutputError, match="depends on no leaf"):
            ntkplan.plan(f, params, x, wrt=lambda p, leaf, path=path: p == path)


KINDS = {
    "step": 3,
    "count": jnp.arange(4),
    "flag": np.array(True),
    "key": jax.random.key(3),
    "old_key": jax.random.PRNGKey(4),
    "keys": jax.random.split(jax.random.key(5), 2),
}


def of_every_kind(params, x):
    """A model that reads leaves of every kind that has no derivative."""
    hidden = jnp.tanh(x @ params["w"]) * params["step"] + params["count"]
    bits = [
        jax.random.bits(key, (4,), np.uint8)
        for key in (params["key"], params["old_key"], params["keys"][1])
    ]
    for drawn in bits:
        hidden = hidden * (drawn.astype(x.dtype) / 100 + 0.1)
    return jnp.where(params["flag"], hidden, 0.0) ** 2


@pytest.mark.parametrize("names", [("step",), ("key",), tuple(KINDS)], ids=str)
def test_leaf_without_a_derivative_is_refused_with_the_wrt_to_write(names):
    params = {"w": np.ones((3, 4)) / 3, **KINDS}
    reading = {name: KINDS[name] for name in names}

    def f(params, x):
        return of_every_kind({**KINDS, **params}, x)

    given = {"w": params["w"], **reading}
    x = np.linspace(-1.0, 1.0, 6).reshape(2, 3)
    with pytest.raises(errors.NonFloatLeafError) as caught:
        ntkplan.plan(f, given, x)
    for name in names:
        dtype = jax.numpy.asarray(KINDS[name]).dtype
        assert f"{name} is {dtype}" in str(caught.value)
    with x64():
        got = ntkplan.ntk(f, given, x, wrt=proposed(caught.value))
    wanted = dense_kernel(f, {"w": params["w"]}, x)
    assert relative_error(got, wanted) < 1e-12


def proposed(error):
    """Returns the `wrt=` that a message tells the user to write."""
    text = re.search(r"wrt=(lambda .*?)(;|\.?$)", str(error), re.MULTILINE)[1]
    return eval(text)


@pytest.mark.parametrize(
    "method",
    ["ntk_vector_products", pytest.param("chosen", marks=pytest.mark.slow)],
)
def test_keys_and_integers_beside_the_parameters_for_every_method(method, tmp_path):
    params = cast_floats({"w": np.ones((3, 4)) / 3, **KINDS}, np.float32)
    x = np.linspace(-1.0, 1.0, 6, dtype=np.float32).reshape(2, 3)
    methods = methods_option(method, leaf_names(params))
    plan = ntkplan.plan(
        of_every_kind, params, x, methods=methods, wrt=lambda path, leaf: path == "w"
    )
    got = plan.compile()(params, x)
    wanted = dense_kernel(of_every_kind, params, x, wrt=lambda path, leaf: path == "w")
    assert relative_error(got, wanted) < 2e-5
    plan.save(tmp_path / "of_every_kind.py")
    result = ntkplan.check(
        plan, of_every_kind, params, x, wrt=lambda path, leaf: path == "w"
    )
    assert result.relative_error < 2e-5
    changed = {**params, "key": jax.random.key(99), "old_key": jax.random.PRNGKey(9)}
    assert relative_error(plan.compile()(changed, x), wanted) > 1e-3


def test_complex_leaf_is_refused_with_the_wrt_to_write():
    params = {"w": np.ones((3, 4)), "phase": np.array(1j), "step": 3}

    def f(params, x):
        return x @ params["w"] * (params["phase"].real + params["step"])

    with pytest.raises(errors.ComplexLeafError, match="phase is complex") as caught:
        ntkplan.plan(f, params, np.ones((2, 3)))
    got = ntkplan.ntk(f, params, np.ones((2, 3)), wrt=proposed(caught.value))
    assert got.shape == (2, 2, 4, 4)


class LinenNetwork(flax.linen.Module):
    @flax.linen.compact
    def __call__(self, x):
        norm = flax.linen.BatchNorm(use_running_average=True)
        return flax.linen.Dense(2)(norm(flax.linen.Dense(4)(x)))


class NnxNetwork(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.first = nnx.Linear(3, 4, rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.last = nnx.Linear(4, 2, rngs=rngs)

    def __call__(self, x):
        return self.last(self.dropout(self.norm(self.first(x))))


def linen_problem(x):
    module = LinenNetwork()
    return module.apply, module.init(jax.random.key(0), x)


def nnx_problem(x):
    module = NnxNetwork()
    module.eval()
    graph, state = nnx.split(module)
    return lambda state, x: nnx.merge(graph, state)(x), state


def haiku_problem(x):
    def network(x, is_training=True):
        norm = haiku.BatchNorm(True, True, 0.9)
        return haiku.Linear(2)(norm(haiku.Linear(4)(x), is_training))

    transformed = haiku.without_apply_rng(haiku.transform_with_state(network))
    fed = transformed.init(jax.random.key(0), x)
    return lambda both, x: transformed.apply(*both, x, False)[0], fed


@pytest.mark.parametrize(
    ("make", "n_parameters"),
    [
        (linen_problem, 6),
        (nnx_problem, 6),
        pytest.param(haiku_problem, 6, marks=pytest.mark.slow),
    ],
)
def test_running_statistics_are_refused_with_the_wrt_to_write(make, n_parameters):
    x = np.random.default_rng(7).normal(size=(3, 3)).astype(np.float32)
    f, params = make(x)
    refusals = (errors.RunningStatisticsError, errors.NonFloatLeafError)
    with pytest.raises(refusals) as caught:
        ntkplan.plan(f, params, x)
    wrt = proposed(caught.value)
    plan = ntkplan.plan(f, params, x, wrt=wrt)
    assert len(plan.layers) == n_parameters
    for layer in plan.layers:
        assert not re.search("mean|var|ema|count|key", layer.path), layer.path
    assert ntkplan.check(plan, f, params, x, wrt=wrt).n_examples == 3


def test_running_statistics_may_be_differentiated_by_on_purpose():
    x = np.random.default_rng(7).normal(size=(3, 3)).astype(np.float32)
    f, params = linen_problem(x)
    with pytest.raises(errors.RunningStatisticsError, match="batch_stats/") as caught:
        ntkplan.plan(f, params, x)
    assert "wrt=lambda path, leaf: True" in str(caught.value)
    plan = ntkplan.plan(f, params, x, wrt=lambda path, leaf: True)
    assert len(plan.layers) == 8
