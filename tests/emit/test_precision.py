"""Which precision the products of an emitted kernel have, read from its jaxpr."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import ntkplan
from ntkplan._jax import sub_jaxprs
from tests.oracles import dense_kernel, relative_error

HIGHEST = (lax.Precision.HIGHEST,) * 2
DEFAULT = (lax.Precision.DEFAULT,) * 2
METHODS = (
    ("tpu_v5e", "ntk_vector_products"),
    ("nvidia_h100", "structured_derivatives"),
)
X = np.random.default_rng(0).normal(size=(5, 4, 4, 2)).astype(np.float32)
PARAMS = {
    "filter": np.random.default_rng(1).normal(size=(3, 3, 2, 3)).astype(np.float32),
    "hidden": np.random.default_rng(2).normal(size=(3, 5)).astype(np.float32),
    "last": np.random.default_rng(3).normal(size=(5, 2)).astype(np.float32),
}


def network(params, x):
    numbers = ("NHWC", "HWIO", "NHWC")
    h = lax.conv_general_dilated(
        x, params["filter"], (1, 1), "SAME", dimension_numbers=numbers
    )
    h = jax.nn.gelu(h).mean((1, 2))
    return jnp.tanh(h @ params["hidden"]) @ params["last"]


def products(closed):
    """Returns the equations of all products, inside of loops and calls too."""
    found = []
    for equation in closed.jaxpr.eqns:
        if "precision" in equation.params:
            found.append(equation)
        for _, inner in sub_jaxprs(equation.params):
            found += products(inner)
    return found


def precisions(plan, *arguments):
    function = plan.compile().function
    return [
        item.params["precision"]
        for item in products(jax.make_jaxpr(function)(*arguments))
    ]


@pytest.mark.parametrize(("device", "method"), METHODS)
def test_every_product_is_made_at_highest_precision_on_accelerators(device, method):
    plan = ntkplan.plan(network, PARAMS, X, device=device, methods=method)
    found = precisions(plan, PARAMS, X)
    assert len(found) > 3
    assert set(found) == {HIGHEST}
    assert "products, the model's own among them, at highest precision" in str(plan)
    got = plan.compile()(PARAMS, X)
    assert relative_error(got, dense_kernel(network, PARAMS, X)) < 1e-4


def test_a_file_for_a_cpu_is_as_precise_elsewhere():
    plan = ntkplan.plan(network, PARAMS, X, device="cpu")
    assert set(precisions(plan, PARAMS, X)) == {HIGHEST}
    assert "precision" not in str(plan)


def test_a_kernel_in_tiles_has_the_precision_too():
    options = {"device": "tpu_v5e", "methods": "jacobian_contraction"}
    limit = ntkplan.plan(network, PARAMS, X[:3], **options).cost.peak_bytes
    plan = ntkplan.plan(network, PARAMS, X, **options, memory_limit=limit)
    assert "over_tiles" in plan.source()
    assert set(precisions(plan, PARAMS, X)) == {HIGHEST}


def test_what_the_user_asks_for_overrides_the_default():
    asked = {"device": "tpu_v5e", "precision": jax.lax.Precision.HIGH}
    plan = ntkplan.plan(network, PARAMS, X, **asked)
    assert set(precisions(plan, PARAMS, X)) == {(lax.Precision.HIGH,) * 2}
    plan = ntkplan.plan(network, PARAMS, X, device="tpu_v5e", precision="default")
    assert set(precisions(plan, PARAMS, X)) == {DEFAULT}


@pytest.mark.parametrize("own", [lax.Precision.DEFAULT, lax.Precision.HIGH])
def test_a_precision_that_the_model_sets_stays(own):
    def f(w, x):
        return jnp.tanh(jnp.dot(x, w["first"], precision=own)) @ w["last"]

    w = {"first": jnp.ones((4, 7)), "last": jnp.ones((7, 2))}
    plan = ntkplan.plan(f, w, jnp.ones((3, 4)), device="nvidia_h100")
    found = precisions(plan, w, jnp.ones((3, 4)))
    assert found.count((own, own)) == 1
    assert set(found) == {(own, own), HIGHEST}


@pytest.mark.parametrize("device", ["tpu_v5e", "nvidia_h100"])
def test_the_plan_prices_the_precision(device):
    def f(w, x):
        return jnp.tanh(x @ w["first"]) @ w["last"]

    w = {
        "first": jax.ShapeDtypeStruct((4096, 4096), jnp.float32),
        "last": jax.ShapeDtypeStruct((4096, 64), jnp.float32),
    }
    x = jax.ShapeDtypeStruct((4096, 4096), jnp.float32)
    options = {"device": device, "kernel": "trace"}
    highest = ntkplan.plan(f, w, x, **options).cost
    fast = ntkplan.plan(f, w, x, **options, precision="default").cost
    assert highest.seconds > 1.2 * fast.seconds
    assert highest.forward_seconds > 1.2 * fast.forward_seconds


@pytest.mark.parametrize(
    ("precision", "bound"), [("default", 0.05), ("high", 0.01), ("highest", 0.001)]
)
def test_a_file_checks_itself_as_exactly_as_its_products_are(precision, bound):
    source = ntkplan.plan(
        network, PARAMS, X, device="tpu_v5e", precision=precision
    ).source()
    assert f'@jax.default_matmul_precision("{precision}")' in source
    assert f"if worst < {bound:g} else" in source
