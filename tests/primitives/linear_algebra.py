"""Models with a product, a factorisation, a solve or a transform on the data path."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.primitives.model import PrimitiveModel, model

SQUARE = ((3, 3),)
SYSTEM = ((3, 3), (3,))


def _regular(h):
    """Far from singular, with eigenvalues that differ."""
    return h / 4.0 + jnp.diag(jnp.arange(3.0, 9.0, 2.0))


def _symmetric(h):
    return _regular(h) + _regular(h).T


def _convolution(image, kernel):
    return lax.conv_general_dilated(
        image, kernel, (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")
    )


def _tridiagonal(diagonal, right_side):
    lower, upper = np.array([0.0, 1.0, 2.0]), np.array([1.0, 0.5, 0.0])
    return lax.linalg.tridiagonal_solve(
        lower, 5.0 + diagonal, upper, right_side[:, None]
    )


def _solved_with_own_rule(h):
    return lax.custom_linear_solve(
        lambda v: 3.0 * v, h, lambda _, right: right / 3.0, symmetric=True
    )


PRODUCTS: tuple[PrimitiveModel, ...] = (
    model("dot_general", lambda a, b: a @ b, shapes=((2, 3), (3, 2))),
    model("conv_general_dilated", _convolution, shapes=((1, 4, 2), (2, 2, 2))),
)

FACTORISATIONS: tuple[PrimitiveModel, ...] = (
    model("cholesky", lambda h: jnp.linalg.cholesky(_symmetric(h)), shapes=SQUARE),
    model(
        "triangular_solve",
        lambda a, b: jax.scipy.linalg.solve_triangular(_regular(a), b),
        shapes=SYSTEM,
    ),
    model("lu", lambda h: lax.linalg.lu(_regular(h))[0], shapes=SQUARE),
    model(
        "custom_linear_solve lu",
        lambda a, b: jnp.linalg.solve(_regular(a), b),
        shapes=SYSTEM,
        name="solve",
    ),
    model("custom_linear_solve", lambda h: _solved_with_own_rule(h) ** 2),
    model("qr", lambda h: jnp.linalg.qr(_regular(h)), shapes=SQUARE),
    model("eigh", lambda h: jnp.abs(jnp.linalg.eigh(_symmetric(h))[1]), shapes=SQUARE),
    model(
        "eigh",
        lambda h: jnp.linalg.eigvalsh(_symmetric(h)),
        shapes=SQUARE,
        name="eigenvalues",
    ),
    model(
        "eig",
        lambda h: jnp.sort(jnp.abs(jnp.linalg.eigvals(_regular(h)))),
        shapes=SQUARE,
    ),
    model(
        "svd",
        lambda h: jnp.abs(jnp.linalg.svd(_regular(h), full_matrices=False)[0]),
        shapes=SQUARE,
    ),
    model(
        "svd",
        lambda h: jnp.linalg.svd(_regular(h), compute_uv=False),
        shapes=SQUARE,
        name="singular_values",
    ),
    model("tridiagonal_solve", _tridiagonal, shapes=((3,), (3,))),
)

TRANSFORMS: tuple[PrimitiveModel, ...] = (
    model("fft", lambda h: jnp.fft.fft(h) * jnp.array([1, 2j, 3, 1 - 1j])),
    model("fft", lambda h: jnp.fft.irfft(jnp.fft.rfft(h) ** 2), name="rfft"),
    model("fft", lambda h: jnp.abs(jnp.fft.fft2(h)), shapes=((2, 3),), name="fft2"),
)

MODELS: tuple[PrimitiveModel, ...] = (*PRODUCTS, *FACTORISATIONS, *TRANSFORMS)
