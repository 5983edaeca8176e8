"""Models that return a tree of arrays: the kernel of each, in the same tree."""

from __future__ import annotations

import collections
import itertools
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkplan
from ntkplan import errors
from tests.end_to_end.matrix import methods_option
from tests.oracles import KERNELS, dense_kernel, leaf_names, relative_error, x64

FROZEN = np.random.default_rng(2).normal(size=(7, 40))
PARAMS = {
    "w": np.random.default_rng(3).normal(size=(3, 7)),
    "head": {"v": np.random.default_rng(4).normal(size=(7, 2))},
    "unused": np.ones(3),
}
X1, X2 = np.random.default_rng(5).normal(size=(2, 4, 3))


def model(params, x):
    """A dictionary that holds a tuple and a list, outputs of several ranks."""
    hidden = jnp.tanh(x @ params["w"])
    logits = hidden @ params["head"]["v"]
    stacked = jnp.stack([logits, logits**2], axis=-1)
    return {"logits": logits, "inner": (hidden, [stacked]), "nothing": None}


OUTPUTS = {
    "inner/0": lambda tree: tree["inner"][0],
    "inner/1/0": lambda tree: tree["inner"][1][0],
    "logits": lambda tree: tree["logits"],
}


def wanted(name, x1, x2=None, **options):
    """Returns the oracle's kernel of one output."""
    return dense_kernel(
        lambda p, x: OUTPUTS[name](model(p, x)), PARAMS, x1, x2, **options
    )


@pytest.mark.parametrize(
    ("options", "method", "cross"),
    [
        ({"kernel": KERNELS[0]}, "chosen", True),
        ({"kernel": KERNELS[1]}, "jacobian_contraction", False),
        ({"kernel": KERNELS[2]}, "ntk_vector_products", True),
        ({"kernel": KERNELS[3]}, "structured_derivatives", False),
        ({"trace_axes": (-1,)}, "mixed", True),
        ({"diagonal_axes": (1,), "pairs": "matched"}, "chosen", True),
    ],
)
def test_every_output_has_its_kernel(options, method, cross):
    methods = methods_option(method, leaf_names(PARAMS))
    x2 = X2 if cross else None
    with x64():
        got = ntkplan.ntk(model, PARAMS, X1, x2, methods=methods, **options)
    assert jax.tree.structure(got) == jax.tree.structure(model(PARAMS, X1))
    for name, pick in OUTPUTS.items():
        error = relative_error(pick(got), wanted(name, X1, x2, **options))
        assert error < 1e-12, name


def test_whole_batch_and_wrt():
    def normalised(params, x):
        tree = model(params, x - x.mean(axis=0))
        return jax.tree.map(lambda array: jnp.cumsum(array, axis=0), tree)

    def only_w(path, leaf):
        return path == "w"

    with x64():
        got = ntkplan.ntk(
            normalised, PARAMS, X1, X2, batch_axis=None, wrt=only_w, kernel="trace"
        )
    for name, pick in OUTPUTS.items():
        dense = dense_kernel(
            lambda p, x, pick=pick: pick(normalised(p, x)),
            PARAMS,
            X1,
            X2,
            kernel="trace",
            wrt=only_w,
        )
        assert relative_error(pick(got), dense) < 1e-12, name


def test_plan_says_of_every_output_what_it_costs():
    plan = ntkplan.plan(model, PARAMS, X1, X2)
    assert list(plan.outputs) == list(OUTPUTS)
    assert (plan.n1, plan.n2, plan.device.name) == (
        4,
        4,
        plan.outputs["logits"].device.name,
    )
    text = str(plan)
    for name, one in plan.outputs.items():
        assert f"output {name} of `model`" in text
        assert str(one) in text
    assert len(plan.layers) == len(PARAMS) * len(OUTPUTS)
    methods = {layer.path: layer.method for layer in plan.outputs["inner/0"].layers}
    assert methods["head/v"] == methods["unused"] == "none" != methods["w"]
    costs = [one.cost for one in plan.outputs.values()]
    assert plan.cost.seconds == pytest.approx(sum(cost.seconds for cost in costs))
    assert plan.cost.flops == pytest.approx(sum(cost.flops for cost in costs))
    assert plan.cost.peak_bytes > max(cost.peak_bytes for cost in costs)
    assert plan.symbolic["logits"].total.operations
    assert plan.explain("w").count("jacobian_contraction") >= len(OUTPUTS)
    with pytest.raises(errors.UnknownOptionError, match="head/v, unused, w"):
        plan.explain("ww")


def test_memory_limit_holds_for_all_outputs_together():
    with pytest.raises(errors.MemoryLimitError) as caught:
        ntkplan.plan(model, PARAMS, X1, X2, memory_limit=100)
    least = caught.value.least_bytes
    plan = ntkplan.plan(model, PARAMS, X1, X2, memory_limit=least)
    assert plan.cost.peak_bytes <= least
    with pytest.raises(errors.MemoryLimitError):
        ntkplan.plan(model, PARAMS, X1, X2, memory_limit=least - 1)


def of_frozen(params, x):
    """Two outputs that read the same large constant, and convolve alike."""
    hidden = jnp.tanh(x @ params["w"] @ FROZEN.astype(x.dtype))
    images = hidden.reshape(-1, 1, 40)
    images = jax.lax.conv_general_dilated(
        images, params["filter"], (1,), "SAME", dimension_numbers=("NCW", "OIW", "NCW")
    )
    return [images.sum(-1), {"a b": images[:, :, ::9], "3": hidden[:, :2]}]


def test_plan_at_other_sizes_is_that_which_is_made_for_them():
    larger = np.concatenate([X1, X1, X1])
    plan = ntkplan.plan(model, PARAMS, X1, X2, memory_limit="1MiB")
    assert str(plan.at(n1=12)) == str(
        ntkplan.plan(model, PARAMS, larger, X2, memory_limit="1MiB")
    )
    assert str(plan.at(n1=12).at(n1=4)) == str(plan)
    with pytest.raises(errors.InvalidSizeError, match="n1 is 0"):
        plan.at(n1=0)
    with pytest.raises(errors.MemoryLimitError):
        plan.at(n1=300, n2=300)
    read = ntkplan.TreePlan.from_json(plan.to_json())
    with pytest.raises(errors.ModelNeededError, match="n1=12, n2=4"):
        read.at(n1=12)


def test_saved_file_returns_the_tree_and_holds_shared_parts_once(tmp_path):
    params = {"w": PARAMS["w"], "filter": np.linspace(-1.0, 2.0, 10).reshape(2, 1, 5)}
    with x64():
        plan = ntkplan.plan(
            of_frozen, params, X1, kernel="trace", methods="jacobian_contraction"
        )
        got = plan.compile()(params, X1, X2)
    file = plan.save(tmp_path / "tree_ntk.py")
    assert file.read_text() == plan.source()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "tree_ntk.npz",
        "tree_ntk.py",
    ]
    with np.load(tmp_path / "tree_ntk.npz") as constants:
        assert [array.shape for array in constants.values()] == [FROZEN.shape]
    assert plan.source().count("def windows(") == 1
    assert max(map(len, plan.source().splitlines())) < 110
    np.savez(tmp_path / "given.npz", x1=X1, x2=X2, **params)
    script = (
        "import sys, jax, numpy as np; jax.config.update('jax_enable_x64', True)\n"
        "import tree_ntk; given = dict(np.load('given.npz'))\n"
        "x1, x2 = given.pop('x1'), given.pop('x2')\n"
        "assert 'ntkplan' not in sys.modules\n"
        "got = tree_ntk.kernel(given, x1, x2)\n"
        "np.savez('got.npz', *[got[0], got[1]['a b'], got[1]['3']])\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    with np.load(tmp_path / "got.npz") as stored:
        pairs = zip(stored.values(), (got[0], got[1]["a b"], got[1]["3"]), strict=True)
        for saved, compiled in pairs:
            assert relative_error(saved, compiled) < 1e-13


Heads = collections.namedtuple("Heads", "policy value")


def test_tree_of_a_type_of_its_own_runs_but_is_not_saved(tmp_path):
    def f(params, x):
        hidden = jnp.tanh(x @ params["w"])
        return Heads(policy=hidden @ params["head"]["v"], value=hidden[:, :1])

    plan = ntkplan.plan(f, PARAMS, X1)
    got = plan.compile()(PARAMS, X1)
    assert type(got) is Heads
    assert got.value.shape == (4, 4, 1, 1)
    with pytest.raises(errors.UnprintableError, match="the tree that f returns"):
        plan.save(tmp_path / "heads.py")


def test_names_of_outputs_may_clash_with_each_other_and_with_leaves():
    params = {"forward_a_b": PARAMS["w"], "kernel_a": PARAMS["head"]["v"]}

    def f(params, x):
        hidden = x @ params["forward_a_b"]
        return {"a": {"b": jnp.tanh(hidden) @ params["kernel_a"]}, "a_b": hidden**2}

    got = ntkplan.ntk(f, params, X1)
    for pick in (lambda tree: tree["a"]["b"], lambda tree: tree["a_b"]):
        dense = dense_kernel(lambda p, x, pick=pick: pick(f(p, x)), params, X1)
        assert relative_error(pick(got), dense) < 2e-5


def test_check_compares_every_output():
    plan = ntkplan.plan(model, PARAMS, X1)
    result = ntkplan.check(plan, model, PARAMS, X1)
    assert result.output in OUTPUTS
    assert result.relative_error < result.limit

    def other(params, x):
        tree = model(params, x)
        return {**tree, "logits": 1.1 * tree["logits"]}

    with pytest.raises(errors.InaccurateKernelError, match="kernel of output logits"):
        ntkplan.check(plan, other, PARAMS, X1)


@pytest.mark.parametrize("cross", [False, True], ids=["symmetric", "cross"])
def test_tiles_of_a_tree(cross):
    tile = jax.ShapeDtypeStruct((3, 3), jnp.float32)
    kernel = ntkplan.plan(model, PARAMS, tile, tile, trace_axes=1).compile()
    x2 = X2 if cross else None
    single = [np.asarray(x, np.float32) for x in (X1, X2)]
    got = ntkplan.kernel_in_tiles(
        kernel, PARAMS, single[0], single[1] if cross else None, tile1=3
    )
    for name, pick in OUTPUTS.items():
        dense = wanted(name, X1, x2, kernel=None, trace_axes=(1,))
        assert relative_error(pick(got), dense) < 2e-5
        assert isinstance(pick(got), np.ndarray)


def test_kernel_is_safe_under_jit_grad_and_vmap():
    kernel = ntkplan.plan(model, PARAMS, X1, kernel="trace").compile()
    single = jax.tree.map(jnp.float32, PARAMS)
    plain = kernel(single, jnp.float32(X1))

    def total(params, scale):
        tree = kernel(params, scale * jnp.float32(X1))
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(tree))

    jitted = jax.jit(kernel)(single, jnp.float32(X1))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), jitted, plain
    )
    slopes = jax.vmap(jax.grad(total), (None, 0))(single, jnp.array([1.0, 0.5]))
    assert slopes["w"].shape == (2, 3, 7)
    assert np.all(np.isfinite(slopes["w"]))


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda tree: {}, ("holds no array", "return an array or a tree of arrays")),
        (lambda tree: (None, ()), ("holds no array",)),
        (
            lambda tree: {**tree, "classes": [tree["logits"].argmax(axis=1)]},
            ("output classes/0", "int32", "leave classes/0 out of what f returns"),
        ),
        (
            lambda tree: {**tree, "loss": tree["logits"].sum()},
            ("output loss", "shape []", "example axis"),
        ),
        (
            lambda tree: {**tree, "mean": tree["logits"].mean(axis=0)},
            ("output mean", "[2]", "first axis does not count examples"),
        ),
        (
            lambda tree: {**tree, "none": tree["logits"][:, :0]},
            ("output none", "empty"),
        ),
        (
            lambda tree: {**tree, "fixed": jnp.ones_like(tree["logits"])},
            ("output fixed", "depends on no leaf", "leave fixed out"),
        ),
        (lambda tree: {"a": {"b": tree["logits"]}, "a/b": tree["logits"]}, ("'a/b'",)),
    ],
)
def test_output_that_has_no_kernel_is_named(change, parts):
    with pytest.raises(errors.OutputError) as caught:
        ntkplan.plan(lambda p, x: change(model(p, x)), PARAMS, X1)
    for part in parts:
        assert part in str(caught.value)


def test_axis_that_an_output_does_not_have_names_the_output():
    with pytest.raises(
        errors.ConflictingOptionsError,
        match="trace_axes names axis 2, and output inner/0 has 2 axes",
    ):
        ntkplan.plan(model, PARAMS, X1, trace_axes=2)


def test_outputs_stand_in_the_order_of_their_tree():
    """Whatever the order in which they are computed and share their variables."""
    for first, second in itertools.permutations(("logits", "hidden")):

        def f(params, x, first=first, second=second):
            hidden = x @ params["w"]
            found = {"hidden": hidden, "logits": hidden @ params["head"]["v"]}
            return (found[first], found[second], found[first])

        got = ntkplan.ntk(f, PARAMS, X1, kernel="diagonal")
        sizes = {"hidden": 7, "logits": 2}
        assert [kernel.shape[-1] for kernel in got] == [
            sizes[name] for name in (first, second, first)
        ]
        np.testing.assert_array_equal(got[0], got[2])
