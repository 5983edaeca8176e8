"""The table of models that the kernels are tested on."""

from __future__ import annotations

import functools
import importlib
import importlib.util

import jax
import numpy as np

from tests.case import N1, Case, Problem
from tests.models import (
    attention,
    convolutional,
    perceptrons,
    recurrent,
    residual,
    unusual,
)
from tests.oracles import dense_jacobians

# The module of a library is looked into only where the library is installed.
LIBRARY_MODULES = {
    "flax.nnx": "tests.models.flax_nnx",
    "flax.linen": "tests.models.flax_linen",
    "equinox": "tests.models.equinox_modules",
    "haiku": "tests.models.haiku_modules",
}

PLAIN_CASES: tuple[Case, ...] = (
    *perceptrons.CASES,
    *convolutional.CASES,
    *residual.CASES,
    *attention.CASES,
    *recurrent.CASES,
    *unusual.CASES,
)

LIBRARY_CASES: tuple[Case, ...] = tuple(
    case
    for library, module in LIBRARY_MODULES.items()
    if importlib.util.find_spec(library.split(".")[0]) is not None
    for case in importlib.import_module(module).CASES
)

CASES: tuple[Case, ...] = PLAIN_CASES + LIBRARY_CASES
BY_NAME: dict[str, Case] = {case.name: case for case in CASES}

SEED = 20


@functools.cache
def problem(name: str) -> Problem:
    """Returns `f, params, x1, x2` of a case, in float32, built once."""
    return BY_NAME[name].build(jax.random.key(SEED))


@functools.cache
def jacobians(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the dense float64 Jacobians at `x1` and `x2` of a case, made once."""
    jacobian = np.concatenate(list(leaf_jacobians(name).values()), axis=-1)
    return jacobian[:N1], jacobian[N1:]


@functools.cache
def leaf_jacobians(name: str) -> dict[str, np.ndarray]:
    """Returns the dense float64 Jacobian of every leaf, `x2` after `x1`."""
    f, params, x1, x2 = problem(name)
    both = jax.tree.map(lambda a, b: np.concatenate([a, b]), x1, x2)
    return dense_jacobians(f, params, both)
