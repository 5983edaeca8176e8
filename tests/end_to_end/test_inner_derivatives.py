"""Models whose outputs hold derivatives with respect to their input."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkplan
from tests.oracles import dense_kernel, relative_error, x64

N_INPUTS, WIDTH = 2, 5
RNG = np.random.default_rng(11)
PARAMS = {
    "w": RNG.normal(size=(N_INPUTS, WIDTH)),
    "b": 0.3 * RNG.normal(size=WIDTH),
    "v": RNG.normal(size=(WIDTH, N_INPUTS)),
}
X = RNG.normal(size=(3, N_INPUTS))


def field(params, point):
    """A vector field, `[2] -> [2]`."""
    return jnp.tanh(point @ params["w"] + params["b"]) @ params["v"]


def potential(params, point):
    """A scalar field."""
    return field(params, point)[0]


def laplacian(params, point):
    """The heat equation's, from the whole Hessian."""
    return jnp.trace(jax.hessian(potential, argnums=1)(params, point))


def laplacian_by_tangents(params, point):
    """The same without the Hessian: tangents through the gradient."""

    def gradient(point):
        return jax.grad(potential, argnums=1)(params, point)

    def along(direction):
        return jax.jvp(gradient, (point,), (direction,))[1] @ direction

    return jax.vmap(along)(jnp.eye(N_INPUTS)).sum()


def divergence(params, point):
    return jnp.trace(jax.jacfwd(field, argnums=1)(params, point))


def curl_and_value(params, point):
    slopes = jax.jacrev(field, argnums=1)(params, point)
    return jnp.append(field(params, point), slopes[0, 1] - slopes[1, 0])


def eikonal(params, point):
    return jnp.linalg.norm(jax.grad(potential, argnums=1)(params, point)) - 1.0


def burgers(params, point):
    """A residual with first and second derivatives and a product of them."""
    value, slopes = jax.value_and_grad(potential, argnums=1)(params, point)
    curvature = jax.hessian(potential, argnums=1)(params, point)[0, 0]
    return slopes[1] + value * slopes[0] - 0.1 * curvature


RESIDUALS = {
    function.__name__: function
    for function in (divergence, curl_and_value, eikonal, burgers)
}


def model_of(residual):
    def f(params, x):
        outputs = jax.vmap(residual, (None, 0))(params, x)
        return outputs.reshape(len(x), -1)

    return f


def computed(f, **options):
    with x64():
        return ntkplan.ntk(f, PARAMS, X, **options)


@pytest.mark.parametrize("name", RESIDUALS)
def test_kernel_of_a_residual(name):
    f = model_of(RESIDUALS[name])
    assert relative_error(computed(f), dense_kernel(f, PARAMS, X)) < 1e-10


@pytest.mark.parametrize("method", ["jacobian_contraction", "ntk_vector_products"])
def test_kernel_of_a_laplacian_by_every_method(method):
    f = model_of(laplacian)
    got = computed(f, methods=method)
    assert relative_error(got, dense_kernel(f, PARAMS, X)) < 1e-10


def test_two_ways_to_a_laplacian_have_one_kernel():
    first, second = (
        computed(model_of(item)) for item in (laplacian, laplacian_by_tangents)
    )
    assert relative_error(first, second) < 1e-10


def test_source_of_a_laplacian_needs_only_jax(tmp_path):
    with x64():
        plan = ntkplan.plan(model_of(laplacian), PARAMS, X)
        text = plan.save(tmp_path / "kernel.py").read_text(encoding="utf-8")
        namespace = {}
        exec(compile(text, "kernel.py", "exec"), namespace)
        got = namespace["kernel"](PARAMS, X)
    assert "import ntkplan" not in text
    wanted = dense_kernel(model_of(laplacian), PARAMS, X)
    assert relative_error(got, wanted) < 1e-10


def test_no_layer_of_a_divergence_is_opaque():
    with x64():
        plan = ntkplan.plan(model_of(divergence), PARAMS, X)
    rules = {layer.path: layer.rules for layer in plan.layers}
    assert not any("opaque" in names for names in rules.values()), rules


def test_a_gradient_by_the_input_keeps_the_structure_of_all_leaves():
    rng = np.random.default_rng(3)
    params = {"w": rng.normal(size=(3, 4)), "v": rng.normal(size=4)}

    def f(params, x):
        def potential(point):
            return jnp.tanh(point @ params["w"]) @ params["v"]

        return jax.vmap(jax.grad(potential))(x)

    with x64():
        plan = ntkplan.plan(f, params, rng.normal(size=(2, 3)))
    assert all(layer.rules != ("opaque",) for layer in plan.layers)
