"""Models with an elementwise primitive on the data path."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from tests.primitives.model import PrimitiveModel, model

PAIR = ((4,), (4,))
TRIPLE = ((4,), (4,), (4,))


def positive(value):
    """Above a quarter, and not by much."""
    return 0.25 + jnp.log1p(jnp.exp(value))


def fraction(value):
    """Between 0.05 and 0.95."""
    return 0.05 + 0.9 / (1.0 + jnp.exp(-value))


def _unary(names, **options):
    return [model(name, getattr(lax, name), **options) for name in names.split()]


UNARY: tuple[PrimitiveModel, ...] = (
    *_unary("abs asinh atan bessel_i0e bessel_i1e cos cosh erf erfc exp exp2 expm1"),
    *_unary("logistic neg sin sinh square tan tanh"),
    *_unary("digamma lgamma log log1p rsqrt sqrt cbrt", domain=positive),
    *_unary("acos asin atanh erf_inv", domain=fraction),
    model("acosh", lambda h: lax.acosh(1.0 + h), domain=positive),
    model("integer_pow", lambda h: h**3 + h**-2, domain=positive),
)

BINARY: tuple[PrimitiveModel, ...] = (
    model("pow", lax.pow, shapes=PAIR, domain=positive),
    model("atan2", lax.atan2, shapes=PAIR),
    model("add", lax.add, shapes=PAIR),
    model("sub", lax.sub, shapes=PAIR),
    model("mul", lax.mul, shapes=PAIR),
    model("div", lax.div, shapes=PAIR, domain=positive),
    model("rem", lax.rem, shapes=PAIR, domain=positive),
    model("max", lax.max, shapes=PAIR),
    model("min", lax.min, shapes=PAIR),
    model("igamma", lax.igamma, shapes=PAIR, domain=positive),
    model("igammac", lax.igammac, shapes=PAIR, domain=positive, slow=True),
    model("select_n", lambda a, b: jnp.where(a > b, a * b, jnp.sin(b)), shapes=PAIR),
    model("complex real imag", lambda a, b: jnp.exp(lax.complex(a, b)), shapes=PAIR),
    model("conj", lambda a, b: lax.conj(lax.complex(a, b)) * (1 + 2j), shapes=PAIR),
    model(
        "add_any",
        lambda a, b: jax.grad(lambda v: jnp.sum(jnp.sin(v) * jnp.cos(v)))(a) * b,
        shapes=PAIR,
    ),
)

OTHER: tuple[PrimitiveModel, ...] = (
    model("clamp", lambda a, b, c: lax.clamp(a - 1.0, b, c + 1.0), shapes=TRIPLE),
    model(
        "select_n",
        lambda a, b, c: lax.select_n(jnp.array([0, 2, 1, 2], jnp.int32), a, b, c),
        shapes=TRIPLE,
        name="select_n_of_three",
    ),
    model("polygamma", lambda h: lax.polygamma(jnp.ones(4), h), domain=positive),
    model(
        "regularized_incomplete_beta",
        lambda h: lax.betainc(jnp.full(4, 2.0), jnp.full(4, 1.5), h),
        domain=fraction,
    ),
    model("reduce_precision", lambda h: lax.reduce_precision(h, 11, 52)),
    model("convert_element_type", lambda h: h.astype(jnp.complex128) * (1 + 2j)),
    model("copy", lambda h: jnp.array(h, copy=True) * 2.0),
)


def _upper_half(h):
    return lax.mulhi(jnp.full(4, 2**30, jnp.int32), (8.0 * h).astype(jnp.int32))


# Whose derivative is zero by itself, beside something whose derivative is not.
STEPS: tuple[PrimitiveModel, ...] = (
    model("ceil", lambda h: lax.ceil(h) * h),
    model("floor", lambda h: lax.floor(h) * h),
    model("round", lambda h: lax.round(h) * h),
    model("sign", lambda h: lax.sign(h) * jnp.sin(h)),
    model("is_finite", lambda h: jnp.where(lax.is_finite(h), h, 0.0)),
    model("eq ne", lambda h: jnp.where((h == 0) | (h != 1), h * h, h)),
    model("ge gt", lambda h: jnp.where((h >= 0) & (h > -1), h * h, h)),
    model("le lt", lambda h: jnp.where((h <= 0) ^ (h < -1), h * h, h)),
    model(
        "and or xor not",
        lambda h: jnp.where(~(h > 0) & (h < 1) | (h > 2) ^ (h < 3), h, -h),
    ),
    model(
        "bitcast_convert_type shift_right_logical",
        lambda h: h * (lax.bitcast_convert_type(h, jnp.uint64) >> 60).astype(h.dtype),
    ),
    model(
        "shift_left shift_right_arithmetic",
        lambda h: h * ((h.astype(jnp.int32) << 2) >> 1).astype(h.dtype),
    ),
    model("argmax argmin", lambda h: h * (jnp.argmax(h) - jnp.argmin(h))),
    model("nextafter", lambda h: lax.nextafter(lax.stop_gradient(h), jnp.ones(4)) * h),
    model(
        "population_count clz",
        lambda h: h * lax.clz(lax.population_count((8.0 * h).astype(jnp.int32))),
    ),
    *([model("mulhi", lambda h: h * _upper_half(h))] if hasattr(lax, "mulhi") else []),
)

MODELS: tuple[PrimitiveModel, ...] = (*UNARY, *BINARY, *OTHER, *STEPS)
