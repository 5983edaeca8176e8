"""All models with a primitive on the data path."""

from __future__ import annotations

from tests.primitives import arrays, calls, elementwise, linear_algebra
from tests.primitives.model import PrimitiveModel

MODELS: tuple[PrimitiveModel, ...] = (
    *elementwise.MODELS,
    *arrays.MODELS,
    *linear_algebra.MODELS,
    *calls.MODELS,
)
