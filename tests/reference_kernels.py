"""Kernels that neural-tangents computed, as `tests/data/neural_tangents` holds them."""

from __future__ import annotations

import dataclasses
import functools
import pathlib

import numpy as np

DATA = pathlib.Path(__file__).parent / "data" / "neural_tangents"

Axes = tuple[int, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reference:
    """A model's parameters, examples and kernels, all float64.

    Attributes:
        params: By name.
        x1: Examples.
        x2: Other examples.
        kernels: By trace axes, diagonal axes and `self` or `cross`.
    """

    params: dict[str, np.ndarray]
    x1: np.ndarray
    x2: np.ndarray
    kernels: dict[tuple[Axes, Axes, str], np.ndarray]


@functools.cache
def reference(name: str) -> Reference:
    """Reads the kernels of one of the models of `tests.models.reference`."""
    params, kernels = {}, {}
    with np.load(DATA / f"{name}.npz") as file:
        for key, value in file.items():
            kind, _, rest = key.partition(":")
            if kind == "param":
                params[rest] = value
            elif kind == "kernel":
                trace, diagonal, which = rest.split("|")
                kernels[axes_of(trace), axes_of(diagonal), which] = value
        return Reference(params=params, x1=file["x1"], x2=file["x2"], kernels=kernels)


def axes_of(text: str) -> Axes:
    """Reads `(1, 2)` or `(-1,)`."""
    return tuple(int(part) for part in text.strip("()").split(",") if part.strip())
