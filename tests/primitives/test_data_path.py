"""Any differentiable primitive may stand between a parameter and the outputs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkplan
from ntkplan._jax import ClosedJaxpr, sub_jaxprs
from ntkplan.errors import UndecidedIndependenceWarning
from tests.emit import evaluation
from tests.oracles import dense_kernel, relative_error, x64
from tests.primitives import elementwise
from tests.primitives.model import PrimitiveModel, any_cpu
from tests.primitives.table import MODELS

# Of these nothing is left in the source: calls are written out, names and places
# change no value, and what is printed while the model runs is none of its outputs.
WRITTEN_OUT = {"copy", "debug_callback", "device_put", "jit", "name", "remat2"}
# A sum that JAX makes of cotangents is printed as any other.
PRINTED_AS = {"add_any": "add"}
# What a callback does is not known.
UNPROVEN = {"pure_callback", "shard_map"}


def primitives_in(closed: ClosedJaxpr) -> Iterator[str]:
    """Yields the names of all primitives, those of inner jaxprs too."""
    for equation in closed.jaxpr.eqns:
        yield equation.primitive.name
        for _, inner in sub_jaxprs(equation.params):
            yield from primitives_in(inner)


def compiled(kernel: Any) -> Any:
    """Compiles without optimising what runs once."""
    options = {
        "xla_backend_optimization_level": 0,
        "xla_llvm_disable_expensive_passes": True,
    }
    return jax.jit(kernel, compiler_options=options)


# Functions of single elements are compared together, and one by one where time allows.
ALIKE = [
    model
    for model in (*elementwise.UNARY, *elementwise.BINARY)
    if not model.slow and model.shapes in (((4,),), ((4,), (4,)))
]


def parameters() -> list[Any]:
    """Returns the models as parameters of a test, the slow ones marked."""
    return [
        pytest.param(
            model,
            id=model.name,
            marks=[pytest.mark.slow] if model.slow or model in ALIKE else [],
        )
        for model in MODELS
    ]


def test_kernel_of_all_elementwise_functions():
    """Of one pair of vectors, so that each function makes four outputs of its own."""
    params, x = elementwise.BINARY[0].arrays()

    def f(params, x):
        return jnp.concatenate(
            [
                model.function({"w": params["w"][:, : 4 * len(model.shapes)]}, x)
                for model in ALIKE
            ],
            axis=1,
        )

    with x64():
        plan = ntkplan.plan(f, params, x, device=any_cpu())
        got = np.asarray(compiled(plan.compile())(params, x))
    wanted = dense_kernel(f, params, x)
    for start in range(0, got.shape[2], 4):
        mine = np.s_[:, :, start : start + 4, start : start + 4]
        assert relative_error(got[mine], wanted[mine]) < 1e-10
    assert relative_error(got, wanted) < 1e-10


@pytest.mark.thinned(2)
@pytest.mark.parametrize("model", parameters())
def test_kernel_is_the_dense_jacobians(model: PrimitiveModel):
    params, x = model.arrays()
    with x64(), warnings.catch_warnings():
        if not UNPROVEN.isdisjoint(model.primitives):
            warnings.simplefilter("ignore", UndecidedIndependenceWarning)
        traced = jax.make_jaxpr(model.function)(params, x)
        assert set(model.primitives) <= set(primitives_in(traced))
        plan = ntkplan.plan(model.function, params, x, device=any_cpu())
        got = np.asarray(compiled(plan.compile())(params, x))
    assert got.dtype == np.float64
    error = relative_error(got, dense_kernel(model.function, params, x))
    assert error <= model.tolerance


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_source_holds_the_primitive(model: PrimitiveModel):
    params, x = model.arrays()
    with x64():
        body = evaluation.traced(model.function, params, x[:1])
        result = evaluation.printed(body)
        forward = evaluation.evaluate_printed(body, result)
        again = jax.make_jaxpr(lambda w, x: forward({}, w, x))(params["w"], x[:1])
    wanted = {PRINTED_AS.get(name, name) for name in model.primitives}
    assert wanted - WRITTEN_OUT <= set(primitives_in(again))
    assert bool(result.references) == model.by_reference


def test_names_of_models_are_unique():
    assert len({model.name for model in MODELS}) == len(MODELS) > 120
