"""Complex numbers between real parameters and real outputs."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import ntkplan
from ntkplan.errors import ComplexLeafError
from tests.oracles import dense_kernel, relative_error, x64
from tests.primitives.model import any_cpu

RNG = np.random.default_rng(7)
PARAMS = {"w": RNG.normal(size=5)}
X = RNG.normal(size=(2, 5))
METHODS = ("jacobian_contraction", "ntk_vector_products")

# The parameter itself is complex by the time it meets data.
COMPLEX_USES = {
    "spectrum": lambda w, x: jnp.abs(jnp.fft.fft(w)) * x,
    "product": lambda w, x: jnp.real(jnp.exp(1j * x) * w * (1 + 2j)),
    "sum": lambda w, x: jnp.abs(jnp.exp(1j * x) + w),
    "phase": lambda w, x: jnp.imag(jnp.exp(1j * w) * jnp.exp(1j * x)),
    "waves": lambda w, x: jnp.abs(jnp.exp(1j * x) @ jnp.outer(w, jnp.arange(3.0))),
}
# It is real, or no rule is asked.
REAL_USES = {
    "filter": lambda w, x: jnp.fft.irfft(jnp.fft.rfft(x * w) ** 2, n=5),
    "two_parts": lambda w, x: jnp.abs(lax.complex(w * x, w**2 * x)),
    "filtered": lambda w, x: jnp.fft.irfft(jnp.fft.rfft(x) * jnp.fft.rfft(w), n=5),
}


def check(function, method):
    def f(params, x):
        return function(params["w"], x)

    with x64():
        got = ntkplan.ntk(f, PARAMS, X, methods=method, device=any_cpu())
    assert relative_error(got, dense_kernel(f, PARAMS, X)) < 1e-10


@pytest.mark.parametrize("name", REAL_USES)
@pytest.mark.parametrize("method", METHODS)
def test_real_parameters_of_complex_intermediates(name, method):
    check(REAL_USES[name], method)


@pytest.mark.parametrize("name", COMPLEX_USES)
def test_parameters_that_are_complex_when_they_meet_data(name):
    check(COMPLEX_USES[name], "jacobian_contraction")


@pytest.mark.parametrize("name", COMPLEX_USES)
def test_tangents_of_parameters_that_are_complex_when_they_meet_data(name):
    check(COMPLEX_USES[name], "ntk_vector_products")


def test_complex_parameters_are_refused():
    params = {"phase": jnp.array([1.0 + 2.0j]), **PARAMS}
    with pytest.raises(ComplexLeafError) as caught:
        ntkplan.plan(lambda p, x: x * jnp.abs(p["phase"]), params, X, device=any_cpu())
    message = str(caught.value)
    assert "parameter phase is complex" in message
    assert "two real leaves" in message
    assert "wrt=" in message


def test_complex_parameters_that_wrt_leaves_out_are_constants():
    params = {"phase": np.array([1.0 + 2.0j]), **PARAMS}

    def f(params, x):
        return jnp.abs(x @ params["w"] * params["phase"])[:, None]

    def wrt(path, leaf):
        return path == "w"

    with x64():
        got = ntkplan.ntk(f, params, X, wrt=wrt, device=any_cpu())
    assert relative_error(got, dense_kernel(f, params, X, wrt=wrt)) < 1e-10
