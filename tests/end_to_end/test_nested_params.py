"""Parameters that no text reads by their path are read from dictionaries of them."""

from __future__ import annotations

import pickle
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkplan
from ntkplan.emit.nested_params import helper, nested_places
from tests.bare_process import said_by
from tests.end_to_end.saved_problems import problems
from tests.oracles import dense_kernel, relative_error

X1, X2 = np.split(np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32), [3])
RULES = ["jacobian_contraction", "structured_derivatives"]


@jax.tree_util.register_pytree_with_keys_class
class Variable:
    """Holds an array as Flax NNX does: reading its key `value` warns."""

    def __init__(self, held):
        self.held = held

    @property
    def value(self):
        warnings.warn("read it otherwise", DeprecationWarning, stacklevel=2)
        return self.held

    def tree_flatten_with_keys(self):
        return ((jax.tree_util.GetAttrKey("value"), self.held),), None

    @classmethod
    def tree_unflatten(cls, _, children):
        return cls(*children)


@jax.tree_util.register_pytree_with_keys_class
class Readable(Variable):
    """Holds an array as older versions do: its key is read as any other."""

    @property
    def value(self):
        return self.held


@jax.tree_util.register_pytree_with_keys_class
class Quantised(Variable):
    """Holds two arrays, of which one is called `value`."""

    def __init__(self, scale, held):
        super().__init__(held)
        self.scale = scale

    def tree_flatten_with_keys(self):
        keys = map(jax.tree_util.GetAttrKey, ("scale", "value"))
        return tuple(zip(keys, (self.scale, self.held), strict=True)), None


@jax.tree_util.register_pytree_node_class
class Unnamed(list):
    """A list of which JAX is told no keys."""

    def tree_flatten(self):
        return tuple(self), None

    @classmethod
    def tree_unflatten(cls, _, children):
        return cls(children)


def hold(params):
    return jax.tree.map(Variable, params)


def read(params):
    return jax.tree.map(
        lambda item: item.held, params, is_leaf=lambda item: isinstance(item, Variable)
    )


def held_problem(name):
    """Returns a saved problem twice: as it is, and with its parameters in variables."""
    f, params, x1, x2, options = problems()[name]
    theirs = dict(options)
    if wrt := options.get("wrt"):
        theirs["wrt"] = lambda path, leaf: wrt(path.removesuffix("/value"), leaf)

    def of_held(params, x):
        return f(read(params), x)

    return (f, params, x1, x2, options), (of_held, hold(params), x1, x2, theirs)


@pytest.mark.parametrize(
    "name",
    [
        "fixed",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("heads", "cut", "tiles")),
    ],
)
def test_kernel_of_variables_is_that_of_their_arrays(name):
    plain, held = held_problem(name)
    found = []
    for f, params, x1, x2, options in (plain, held):
        plan = ntkplan.plan(f, params, x1, x2, **options)
        found.append(jax.tree.leaves(plan.compile()(params, x1, x2)))
    source = plan.source()
    assert "jax.tree.leaves(params)" not in source
    assert "_value" not in source
    for wanted, got in zip(*found, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_gradient_with_respect_to_variables():
    (f, params, x, *_), (of_held, held, *_) = held_problem("pushed")
    x, methods = x[:2], "structured_derivatives"
    wanted = jax.grad(lambda p: ntkplan.ntk(f, p, x, methods=methods).sum())(params)
    kernel = ntkplan.plan(of_held, held, x, methods=methods).compile()
    got = jax.grad(lambda held: kernel(held, x).sum())(held)
    assert jax.tree.structure(got) == jax.tree.structure(held)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda p: {"layers": p["layers"][:1]},
            r"params\['layers'\]\[1\]\['b'\] is missing, planned: float32\[3\]",
        ),
        (
            lambda p: jax.tree.map(lambda a: a.T, p),
            r"params\['layers'\]\[0\]\['w'\] is float32\[7,5\].*float32\[5,7\]",
        ),
        (
            lambda p: {**p, "more": Variable(jnp.ones(2))},
            r"params\['more'\] is float32\[2\], planned: nothing",
        ),
        (lambda p: jnp.ones(3), r"params\['layers'\]\[0\]\['b'\] is missing"),
    ],
)
def test_the_emitted_code_names_the_place_that_does_not_fit(change, message):
    _, (f, params, x, _, options) = held_problem("trace")
    kernel = ntkplan.plan(f, params, x, **options).compile().function
    with pytest.raises(ValueError, match=message):
        kernel(change(params), x)


def test_the_page_tells_why_beside_the_leaf():
    _, (f, params, x, *_) = held_problem("trace")
    plan = ntkplan.plan(f, params, x)
    (why,) = [p.why for p in plan.layers if p.path == "layers/1/w/value"]
    assert f"layers/1/w: {why}" in plan.source(format="html")


PLACES = {
    "variables": ({"a": [Variable(1.0), 2.0]}, (("a", 0), ("a", 1))),
    "readable": ({"a": [Readable(1.0)], "b": Readable(2.0)}, (("a", 0), ("b",))),
    "readable_among_others": ({"a": Readable(1.0), "b": 2.0}, None),
    "one_variable": (Variable(1.0), (("value",),)),
    "no_keys": (Unnamed([1.0, {"b": 2.0}]), ((0,), (1, "b"))),
    "read_by_text": ({"value": 1.0, "a": [2.0]}, None),
    "two_at_one_place": ({"a": Quantised(1.0, 2.0), "b": Variable(3.0)}, None),
    "layers_in_keys": (
        {"net/layer_0/up": {"w": 1.0}, "net/layer_1/up": {"w": 2.0}, "net": {"b": 3.0}},
        (("net", "b"), ("net", "layer_0", "up", "w"), ("net", "layer_1", "up", "w")),
    ),
    "unlike_layers_in_keys": (
        {"net/layer_0/up": {"w": 1.0}, "net/layer_1/up": {"v": 2.0}},
        None,
    ),
    "a_leaf_where_layers_are": (
        {"a/b_0/c": {"w": 1.0}, "a/b_1/c": {"w": 2.0}, "a": {"b_0": 3.0}},
        None,
    ),
    "no_text_for_a_key": ({(1, 2): Variable(1.0)}, None),
}


@pytest.mark.parametrize("name", PLACES)
def test_places_are_those_of_what_the_emitted_function_makes(name):
    tree, places = PLACES[name]
    assert nested_places(tree) == places
    if places is None:
        return
    namespace = {"jax": jax}
    exec(helper(tree), namespace)
    made = namespace["nested"](tree)
    for place, leaf in zip(places, jax.tree.leaves(tree), strict=True):
        at = made
        for key in place:
            at = at[key]
        assert at is leaf
    again = namespace["nested"](made)
    assert again == made, "dictionaries are left as they are"


def test_leaves_without_places_are_read_in_their_order():
    generator = np.random.default_rng(0)
    w, v = (generator.normal(size=(3, 3)).astype(np.float32) for _ in range(2))
    params = {"a": Quantised(w, v), "b": Variable(w[0])}
    x = generator.normal(size=(4, 3)).astype(np.float32)

    def f(params, x):
        scale, value, shift = jax.tree.leaves(params)
        return jnp.tanh(x @ scale + shift) @ value

    plan = ntkplan.plan(f, params, x)
    assert "jax.tree.leaves(params)" in plan.source()
    got = plan.compile()(params, x)
    assert relative_error(got, dense_kernel(f, params, x)) < 2e-6


def blocks(nnx, n_blocks):
    """Returns `f, params` of a network, and the same with its parameters in a dict."""

    class Block(nnx.Module):
        def __init__(self, rngs):
            self.norm = nnx.LayerNorm(4, rngs=rngs)
            self.up = nnx.Linear(4, 6, rngs=rngs)
            self.down = nnx.Linear(6, 4, rngs=rngs)

        def __call__(self, x):
            return x + self.down(nnx.relu(self.up(self.norm(x))))

    class Network(nnx.Module):
        def __init__(self, rngs):
            blocks = [Block(rngs) for _ in range(n_blocks)]
            # Versions of Flax without lists of their own take those of Python.
            self.blocks = getattr(nnx, "List", list)(blocks)
            self.head = nnx.Linear(4, 2, rngs=rngs)

        def __call__(self, x):
            for block in self.blocks:
                x = block(x)
            return self.head(x)

    graph, params, rest = nnx.split(Network(nnx.Rngs(0)), nnx.Param, ...)

    def f(params, x):
        return nnx.merge(graph, params, rest)(x)

    def of_dictionary(pure, x):
        state = jax.tree.map(lambda array: array, params)
        nnx.replace_by_pure_dict(state, pure)
        return f(state, x)

    return (f, params), (of_dictionary, nnx.to_pure_dict(params))


CALLER = """
import pickle, runpy, sys
import numpy
module = runpy.run_path(sys.argv[1])
assert not {"ntkplan", "flax"} & set(sys.modules)
params, x1, x2 = pickle.load(open(sys.argv[2], "rb"))
numpy.save(sys.argv[3], module["kernel"](params, x1, x2))
dense = module["dense_kernel"](params, x1, x2)
assert numpy.allclose(dense, numpy.load(sys.argv[3]), atol=1e-4 * abs(dense).max())
assert "ntkplan" not in sys.modules
"""


def test_file_of_an_nnx_model_has_its_block_once():
    nnx = pytest.importorskip("flax.nnx")
    (f, params), _ = blocks(nnx, 3)
    plan = ntkplan.plan(f, params, X1, X2, methods=RULES)
    assert {layer.path for layer in plan.layers} >= {"blocks/0/norm/scale/value"}
    source = plan.source()
    assert source.count("def block(") == 1
    assert source.count("jnp.square(x)") == 1
    assert 'params["head"]["kernel"]' in source
    assert "value" not in source.partition("def nested(")[0]
    got = plan.compile()(params, X1, X2)
    assert relative_error(got, dense_kernel(f, params, X1, X2)) < 2e-5


def _of_keys(params, x):
    """Layers whose places in the model are written into keys, as Haiku does."""
    for number in range(3):
        up, down = (params[f"net/layer_{number}/{name}"] for name in ("up", "down"))
        scale = jax.lax.rsqrt(jnp.mean(x**2, axis=-1, keepdims=True) + 1e-3)
        x = x + jnp.tanh((scale * x) @ up["w"] + up["b"]) @ down["w"]
    return x @ params["net/head"]["w"]


def test_layers_in_keys_are_one_function(tmp_path):
    draw = np.random.default_rng(3).normal
    params = {"net/head": {"w": draw(size=(4, 2))}}
    for number in range(3):
        params[f"net/layer_{number}/up"] = {"w": draw(size=(4, 5)), "b": draw(size=5)}
        params[f"net/layer_{number}/down"] = {"w": draw(size=(5, 4)) / 3}
    params = jax.tree.map(lambda array: jnp.asarray(array, jnp.float32), params)
    plan = ntkplan.plan(_of_keys, params, X1, X2, methods=RULES)
    assert "net/layer_0/up/w" in {layer.path for layer in plan.layers}
    source = plan.source()
    assert source.count("def layer(") == source.count("jnp.tanh(") == 1
    wanted = dense_kernel(_of_keys, params, X1, X2)
    assert relative_error(plan.compile()(params, X1, X2), wanted) < 2e-5
    assert (
        relative_error(subprocess_kernel(plan, tmp_path, params, X1, X2), wanted) < 2e-5
    )


@pytest.mark.slow
def test_file_of_an_nnx_model_is_that_of_its_dictionary_and_needs_only_jax(tmp_path):
    nnx = pytest.importorskip("flax.nnx")
    (f, params), (of_dictionary, pure) = blocks(nnx, 3)
    plan = ntkplan.plan(f, params, X1, X2, methods=RULES)
    other = ntkplan.plan(of_dictionary, pure, X1, X2, methods=RULES)
    n_helper = len(helper(params).strip().splitlines()) + len(["", ""])
    n_calls = len(["kernel", "dense_kernel"])
    n_lines, n_other = (len(each.source().splitlines()) for each in (plan, other))
    assert n_lines <= n_other + n_helper + n_calls
    got = subprocess_kernel(plan, tmp_path, params, X1, X2)
    assert relative_error(got, dense_kernel(f, params, X1, X2)) < 2e-5


def subprocess_kernel(plan, folder, params, x1, x2):
    """Returns the kernel of a saved file, called where ntkplan is not installed."""
    paths = [str(folder / name) for name in ("ntk.py", "inputs", "kernel.npy")]
    plan.save(paths[0])
    (folder / "inputs").write_bytes(pickle.dumps((params, x1, x2)))
    said_by(CALLER, paths, folder)
    return np.load(paths[2])
