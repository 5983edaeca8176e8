"""What JAX cannot pull back is refused while planning, in ntkplan's own words."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkplan
from tests.oracles import dense_kernel, relative_error, x64
from tests.primitives.model import any_cpu
from tests.primitives.refused import MODELS, RefusedModel

PARAMS = {"w": np.linspace(0.1, 1.0, 12, dtype=np.float32).reshape(3, 4)}
X = np.linspace(0.5, 1.0, 3, dtype=np.float32).reshape(1, 3)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_message_names_the_primitive_the_parameter_and_the_remedy(model: RefusedModel):
    def f(params, x):
        return model.operation(x @ params["w"])

    with pytest.raises(model.error) as caught:
        ntkplan.plan(f, PARAMS, X, batch_axis=None, device=any_cpu())
    message = str(caught.value)
    assert f"`{model.primitive}`" in message
    assert model.because in message


def test_what_no_parameter_passes_is_no_matter():
    """The same operations on data alone are part of the model like any other."""

    def f(params, x):
        smooth = jax.lax.while_loop(lambda v: v.sum() > 1.0, lambda v: v / 2.0, x)
        values, vectors = jnp.linalg.eig(x.T @ x + jnp.diag(jnp.arange(3.0)))
        return (x + smooth + jnp.abs(values)) @ jnp.abs(vectors) @ params["w"]

    params = {"w": PARAMS["w"].astype(np.float64)}
    x = X.astype(np.float64)
    with x64():
        got = ntkplan.ntk(f, params, x, batch_axis=None, device=any_cpu())
    assert relative_error(got, dense_kernel(f, params, x)) < 1e-10
