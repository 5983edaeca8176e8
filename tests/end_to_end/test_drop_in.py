"""`empirical_ntk_fn` and `empirical_ntk_vp_fn` beside those of neural_tangents."""

from __future__ import annotations

import functools
import inspect
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkplan
from ntkplan import NtkImplementation, errors
from ntkplan.drop_in.inputs import sort_inputs
from tests import drop_in_cases
from tests.drop_in_cases import CASES, PRODUCTS, as_arrays, waves
from tests.models.reference import MODELS
from tests.oracles import dense_jacobian, kernel_of_jacobians, relative_error, x64
from tests.reference_kernels import DATA, reference

IMPLEMENTATIONS = (
    "jacobian_contraction",
    NtkImplementation.NTK_VECTOR_PRODUCTS,
    3,
    "auto",
)
REFERENCES = [(name, key) for name in MODELS for key in reference(name).kernels]
# Those that differ most; `ntkplan.ntk` is compared with every one of them elsewhere.
FEW = (
    ("conv", ((-1,), (1, 2), "cross")),
    ("attention", ((2,), (1,), "self")),
    ("tied", ((), (), "cross")),
)


@functools.cache
def stored_kernels():
    """Returns what `make_drop_in.py` wrote."""
    with np.load(DATA / "drop_in" / "kernels.npz") as file:
        return dict(file)


def with_implementations(cases):
    """Pairs every case with one implementation, in turn."""
    return list(zip(cases, itertools.cycle(IMPLEMENTATIONS), strict=False))


def check_case(name, implementation):
    """Compares one call with what neural_tangents returned."""
    with x64():
        case = as_arrays(CASES[name])
        ntk_fn = ntkplan.empirical_ntk_fn(
            case.f, *case.axes, case.vmap_axes, implementation
        )
        got = ntk_fn(case.x1, case.x2, case.params, **case.keywords)
    leaves = jax.tree.leaves(got)
    wanted = stored_kernels()
    assert f"{name}/{len(leaves)}" not in wanted
    for number, kernel in enumerate(leaves):
        assert relative_error(kernel, wanted[f"{name}/{number}"]) < 1e-12


@pytest.mark.thinned(2)
@pytest.mark.parametrize(
    ("name", "implementation"), with_implementations(CASES), ids=str
)
def test_kernel_is_that_of_neural_tangents(name, implementation):
    check_case(name, implementation)


@pytest.mark.slow
@pytest.mark.hours
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_every_implementation_gives_the_kernel_of_neural_tangents(name, implementation):
    check_case(name, implementation)


def check_output_axes(stored, implementation):
    """Compares a kernel of the stored models, whose examples are independent."""
    name, key = stored
    trace_axes, diagonal_axes, which = key
    file = reference(name)
    with x64():
        ntk_fn = ntkplan.empirical_ntk_fn(
            MODELS[name], trace_axes, diagonal_axes, 0, implementation
        )
        got = ntk_fn(file.x1, file.x2 if which == "cross" else None, file.params)
    assert relative_error(got, file.kernels[key]) < 1e-12


@pytest.mark.parametrize(
    ("stored", "implementation"), with_implementations(FEW), ids=str
)
def test_several_output_axes(stored, implementation):
    check_output_axes(stored, implementation)


@pytest.mark.slow
@pytest.mark.hours
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS, ids=str)
@pytest.mark.parametrize("stored", REFERENCES, ids=str)
def test_output_axes_by_every_implementation(stored, implementation):
    check_output_axes(stored, implementation)


@pytest.mark.parametrize("name", PRODUCTS)
def test_product_is_that_of_neural_tangents(name):
    with x64():
        case = as_arrays(CASES[name])
        product = ntkplan.empirical_ntk_vp_fn(
            case.f, case.x1, case.x2, case.params, **case.keywords
        )
        vector = jax.tree.map(jnp.asarray, drop_in_cases.cotangents_of(case))
        for compute in (product, jax.jit(product)):
            for number, leaf in enumerate(jax.tree.leaves(compute(vector))):
                wanted = stored_kernels()[f"product/{name}/{number}"]
                assert relative_error(leaf, wanted) < 1e-12


def test_signature_is_that_of_neural_tangents():
    parameters = inspect.signature(ntkplan.empirical_ntk_fn).parameters
    defaults = {name: item.default for name, item in parameters.items()}
    assert list(defaults) == [
        "f",
        "trace_axes",
        "diagonal_axes",
        "vmap_axes",
        "implementation",
    ]
    assert list(defaults.values())[1:] == [(-1,), (), None, 1]
    called = inspect.signature(ntkplan.empirical_ntk_fn(drop_in_cases.perceptron))
    assert list(called.parameters) == ["x1", "x2", "params", "apply_fn_kwargs"]


@pytest.mark.parametrize(
    ("implementation", "used"),
    [
        ("jacobian_contraction", {"jacobian_contraction"}),
        ("ntk_vector_products", {"ntk_vector_products"}),
        ("structured_derivatives", {"structured_derivatives"}),
    ],
)
def test_implementation_says_which_methods_are_used(implementation, used, monkeypatch):
    planned = []

    def remembered(*arguments, **options):
        planned.append(ntkplan.plan(*arguments, **options))
        return planned[-1]

    monkeypatch.setattr("ntkplan.drop_in.per_example.plan", remembered)
    case = CASES["int_0"]
    ntk_fn = ntkplan.empirical_ntk_fn(
        case.f, vmap_axes=0, implementation=implementation
    )
    ntk_fn(case.x1, None, case.params)
    assert {layer.method for layer in planned[0].layers} == used


def test_plans_once_for_every_shape_and_flag():
    traced = []

    def f(params, x, flip=False, scale=1.0):
        traced.append(x.shape)
        return (-1 if flip else 1) * scale * jnp.tanh(x @ params["w"])

    params, x = {"w": waves(3, 2)}, waves(4, 3)
    ntk_fn = ntkplan.empirical_ntk_fn(f, (), vmap_axes=0)
    first = ntk_fn(x, None, params)
    often = len(traced)
    again = ntk_fn(x + 1, None, {"w": params["w"] / 2})
    assert len(traced) == often
    assert relative_error(again, first) > 1e-2
    ntk_fn(x, None, params, scale=2.0)
    scaled = len(traced)
    assert scaled > often
    tripled = ntk_fn(x, None, params, scale=3.0)
    assert len(traced) == scaled
    assert relative_error(tripled, 9 * first) < 1e-5
    assert relative_error(ntk_fn(x, None, params, flip=True), first) < 1e-6
    assert len(traced) > scaled


def test_jit_and_grad():
    """Planned while JAX traces, and used again outside."""
    case = as_arrays(CASES["pattern"])
    ntk_fn = ntkplan.empirical_ntk_fn(case.f, (), vmap_axes=(0, 0, {"pattern": 0}))
    call = functools.partial(ntk_fn, case.x1, case.x2)
    jitted = jax.jit(call)(case.params, **case.keywords)
    assert relative_error(jitted, call(case.params, **case.keywords)) < 1e-6
    slope = jax.grad(lambda params: jnp.sum(call(params, **case.keywords)))(case.params)
    assert all(jnp.any(leaf != 0) for leaf in jax.tree.leaves(slope))


def test_dropout_of_a_whole_batch():
    def f(params, x, rng):
        hidden = jnp.tanh(x @ params["w"])
        return hidden * jax.random.bernoulli(rng, 0.5, hidden.shape) @ params["v"]

    params, key = drop_in_cases.MASKED, jax.random.key(3)
    x1, x2 = waves(3, 3), waves(2, 3, phase=1)
    with x64():
        got = ntkplan.empirical_ntk_fn(f, ())(x1, x2, params, rng=key)
        sides = [(x1, key), (x2, jax.random.fold_in(key, 1))]
        jacobians = [
            dense_jacobian(functools.partial(f, rng=own), params, x) for x, own in sides
        ]
    assert relative_error(got, kernel_of_jacobians(*jacobians)) < 1e-12


def test_product_never_forms_the_kernel():
    n1, n2 = 300, 200

    def largest(jaxpr):
        sizes = [0]
        for equation in jaxpr.eqns:
            sizes += [math.prod(item.aval.shape) for item in equation.outvars]
            for inner in equation.params.values():
                inner = getattr(inner, "jaxpr", inner)
                sizes.append(largest(inner) if hasattr(inner, "eqns") else 0)
        return max(sizes)

    case = CASES["defaults"]
    product = ntkplan.empirical_ntk_vp_fn(
        case.f, waves(n1, 3), waves(n2, 3), case.params
    )
    size = largest(jax.make_jaxpr(product)(waves(n2, 2)).jaxpr)
    assert n1 * 5 <= size < n1 * n2 / 10


def interacting(params, x, shift=0.0):
    return jnp.tanh((x - x.mean(axis=0)) @ params["w"] + shift)


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        ({"implementation": 4}, errors.UnknownOptionError, "auto (0)"),
        ({"implementation": "fast"}, errors.UnknownOptionError, "auto (0)"),
        ({"implementation": True}, errors.UnknownOptionError, "auto (0)"),
        ({"trace_axes": (2,)}, errors.ConflictingOptionsError, "[4, 2]"),
        ({"trace_axes": (1, -1)}, errors.ConflictingOptionsError, "twice"),
        ({"diagonal_axes": 1}, errors.ConflictingOptionsError, "twice"),
        ({"vmap_axes": 2}, errors.VmapAxesError, "[4, 3]"),
        ({"vmap_axes": "0"}, errors.VmapAxesError, "integers"),
        ({"vmap_axes": (0, None, {})}, errors.VmapAxesError, "second part"),
        ({"vmap_axes": (None, 0, {})}, errors.VmapAxesError, "x too"),
        ({"vmap_axes": (0, 0, {"mask": 0})}, errors.VmapAxesError, "'mask'"),
        ({"vmap_axes": (0, 0, "mask")}, errors.VmapAxesError, "dictionary"),
        ({"vmap_axes": ({"a": 0}, 0, {})}, errors.VmapAxesError, "structure"),
    ],
    ids=str,
)
def test_wrong_options(wrong, error, says):
    x, params = waves(4, 3), drop_in_cases.PERCEPTRON
    with pytest.raises(error) as caught:
        ntkplan.empirical_ntk_fn(drop_in_cases.perceptron, **wrong)(x, None, params)
    assert says in str(caught.value)
    assert isinstance(caught.value, ntkplan.NtkPlanError)


@pytest.mark.parametrize(
    ("x2", "keywords", "error", "says"),
    [
        (waves(2, 4), {}, errors.MismatchedInputsError, "vmap_axes=None"),
        ((waves(2, 3),) * 2, {}, errors.MismatchedInputsError, "structure"),
        (waves(2, 3), {"rng": "seed"}, errors.KeywordArgumentError, "random key"),
        (None, {"scale": {3}}, errors.KeywordArgumentError, "hashable"),
        (waves(2, 3), {"mode": ("a", "b")}, errors.KeywordArgumentError, "['b']"),
    ],
    ids=["shape", "tree", "rng", "unhashable", "flags"],
)
def test_wrong_calls(x2, keywords, error, says):
    def f(params, x, **keywords):
        return drop_in_cases.perceptron(params, x)

    ntk_fn = ntkplan.empirical_ntk_fn(f, vmap_axes=0)
    with pytest.raises(error) as caught:
        ntk_fn(waves(4, 3), x2, drop_in_cases.PERCEPTRON, **keywords)
    assert says in str(caught.value)


@pytest.mark.parametrize("shift", [0.0, (waves(2), waves(2, phase=1))])
def test_vmap_axes_that_are_not_true_are_refused(shift):
    """Also where a side has an argument of its own, and the model is mapped."""
    ntk_fn = ntkplan.empirical_ntk_fn(interacting, vmap_axes=0)
    with pytest.raises(errors.InteractingExamplesError) as caught:
        ntk_fn(waves(4, 3), waves(3, 3, phase=1), {"w": waves(3, 2)}, shift=shift)
    assert "vmap_axes=None" in caught.value.__notes__[0]


@pytest.mark.parametrize("vmap_axes", [0, None])
def test_numbers_of_examples_that_should_be_paired_but_differ(vmap_axes):
    ntk_fn = ntkplan.empirical_ntk_fn(
        drop_in_cases.perceptron, diagonal_axes=(0,), vmap_axes=vmap_axes
    )
    with pytest.raises(errors.MismatchedInputsError, match="trace_axes"):
        ntk_fn(waves(4, 3), waves(2, 3), drop_in_cases.PERCEPTRON)


@pytest.mark.parametrize("vmap_axes", [0, None])
def test_error_names_the_output_that_depends_on_no_parameter(vmap_axes):
    def f(params, x):
        return {"logits": jnp.tanh(x @ params), "x": x}

    ntk_fn = ntkplan.empirical_ntk_fn(f, vmap_axes=vmap_axes)
    with pytest.raises(errors.OutputError) as caught:
        ntk_fn(waves(4, 3), None, waves(3, 2))
    assert "output ['x']" in caught.value.__notes__[0]


def test_leaves_that_have_no_derivative_are_refused():
    params = {"w": waves(3, 2), "steps": np.array(3)}
    ntk_fn = ntkplan.empirical_ntk_fn(interacting)
    with pytest.raises(errors.NonFloatLeafError) as caught:
        ntk_fn(waves(4, 3), None, params)
    assert "ntkplan.plan" in caught.value.__notes__[0]


def test_wrong_cotangents_are_refused():
    case = CASES["defaults"]
    product = ntkplan.empirical_ntk_vp_fn(case.f, case.x1, case.x2, case.params)
    with pytest.raises(errors.MismatchedInputsError, match="cotangents"):
        product(waves(len(case.x1), 2))


def test_plan_holds_no_array_of_the_call():
    """Layouts are keys: they hold what `f` is traced with, and no data."""
    from ntkplan.drop_in.example_axes import read_vmap_axes
    from ntkplan.drop_in.inputs import Side

    side = Side(x=waves(4, 3), keywords={"flag": True, "scale": 2.0, "name": "a"})
    layout = sort_inputs(side, None, read_vmap_axes(0))
    assert hash(layout) == hash(sort_inputs(side, None, read_vmap_axes(-2)))
    assert [value for _, value in layout.static] == [True, "a"]
