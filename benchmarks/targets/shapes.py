"""Layers whose contractions are compiled: ten to be judged by, others to fit to."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Shape:
    """One leaf of a model of one layer, and how many examples meet.

    Attributes:
        name: What is particular about it.
        apply: The model, `f(params, x)`; its one parameter is the leaf.
        parameter: Shape of the leaf.
        x: One batch of examples.
        n: Examples on either side.
        n_outputs: Outputs of one example.
        kernel: Name of the kernel.
    """

    name: str
    apply: Callable[[Any, Any], Any]
    parameter: tuple[int, ...]
    x: jax.ShapeDtypeStruct
    n: int
    n_outputs: int
    kernel: str = "full"


def _head(value: Any, n_outputs: int) -> Any:
    """Maps a layer's value `[n, ..., y]` to outputs, so that it has cotangents."""
    features = jnp.tanh(value).reshape(value.shape[0], -1)
    frequencies = jnp.arange(1, n_outputs + 1, dtype=value.dtype)
    waves = jnp.sin(features[:, None, :] * frequencies[:, None])
    return waves.sum(-1)


def _dense(
    name: str,
    *,
    n: int,
    inner: int,
    outer: int,
    o: int,
    positions: int = 1,
    kernel: str = "full",
) -> Shape:
    """A matrix product, at one position of every example or at several."""
    lead = (n,) if positions == 1 else (n, positions)
    return Shape(
        name=name,
        apply=lambda weight, x: _head(x @ weight, o),
        parameter=(inner, outer),
        x=jax.ShapeDtypeStruct((*lead, inner), jnp.float32),
        n=n,
        n_outputs=o,
        kernel=kernel,
    )


def _convolution(
    name: str, *, n: int, side: int, channels: int, features: int, o: int
) -> Shape:
    """A 3 x 3 convolution, its input cut into windows."""

    def apply(weight: Any, x: Any) -> Any:
        value = jax.lax.conv_general_dilated(
            x, weight, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return _head(value, o)

    return Shape(
        name=name,
        apply=apply,
        parameter=(3, 3, channels, features),
        x=jax.ShapeDtypeStruct((n, side, side, channels), jnp.float32),
        n=n,
        n_outputs=o,
    )


def _embedding(
    name: str, *, n: int, positions: int, rows: int, width: int, o: int
) -> Shape:
    """Rows of a table, looked up by index."""
    return Shape(
        name=name,
        apply=lambda table, x: _head(table[x], o),
        parameter=(rows, width),
        x=jax.ShapeDtypeStruct((n, positions), jnp.int32),
        n=n,
        n_outputs=o,
    )


def _scale(name: str, *, n: int, positions: int, width: int, o: int) -> Shape:
    """A factor for every feature, as in a normalisation."""
    return Shape(
        name=name,
        apply=lambda scale, x: _head(x * scale, o),
        parameter=(width,),
        x=jax.ShapeDtypeStruct((n, positions, width), jnp.float32),
        n=n,
        n_outputs=o,
    )


EVALUATED: tuple[Shape, ...] = (
    _dense("dense_few_examples", n=8, inner=256, outer=512, o=10),
    _dense("dense_many_examples", n=128, inner=128, outer=128, o=10),
    _dense("dense_many_outputs", n=4, inner=32, outer=64, o=500),
    _dense("dense_wide_one_output", n=64, inner=512, outer=2048, o=1),
    _dense("sequence_many_positions", n=8, inner=64, outer=64, o=10, positions=64),
    _dense(
        "transformer_trace",
        n=8,
        inner=64,
        outer=256,
        o=16,
        positions=16,
        kernel="trace",
    ),
    _convolution("convolution_early", n=8, side=12, channels=8, features=16, o=6),
    _convolution("convolution_late", n=4, side=4, channels=64, features=64, o=6),
    _embedding("embedding", n=4, positions=8, rows=600, width=64, o=5),
    _scale("scale", n=8, positions=32, width=128, o=5),
)
"""What regret is told of. Nothing is fitted to these."""

FITTED: tuple[Shape, ...] = (
    _dense("fit_dense_4", n=4, inner=192, outer=320, o=10),
    _dense("fit_dense_32", n=32, inner=200, outer=96, o=10),
    _dense("fit_dense_100", n=100, inner=150, outer=50, o=8),
    _dense("fit_dense_one_output", n=200, inner=256, outer=256, o=1),
    _dense("fit_dense_few_features", n=192, inner=8, outer=32, o=4),
    _dense("fit_dense_outputs", n=3, inner=48, outer=40, o=300),
    _dense("fit_sequence_short", n=12, inner=96, outer=128, o=6, positions=8),
    _dense("fit_sequence_long", n=4, inner=32, outer=48, o=5, positions=150),
    _dense("fit_sequence_one", n=24, inner=64, outer=64, o=1, positions=40),
    _dense("fit_trace", n=12, inner=96, outer=64, o=8, positions=10, kernel="trace"),
    _dense("fit_dense_trace", n=48, inner=256, outer=128, o=50, kernel="trace"),
    _convolution("fit_convolution_10", n=4, side=10, channels=12, features=20, o=8),
    _convolution("fit_convolution_rgb", n=10, side=12, channels=3, features=24, o=4),
    _convolution("fit_convolution_deep", n=6, side=3, channels=96, features=160, o=8),
    _embedding("fit_embedding", n=12, positions=8, rows=1500, width=96, o=6),
    _embedding("fit_embedding_long", n=4, positions=48, rows=400, width=48, o=8),
    _scale("fit_scale", n=10, positions=40, width=192, o=8),
    _dense("fit_dense_outputs_wide", n=2, inner=96, outer=256, o=250),
    _dense("fit_sequence_few", n=8, inner=256, outer=192, o=10, positions=4),
    _convolution("fit_convolution_last", n=10, side=2, channels=64, features=96, o=10),
    _convolution("fit_convolution_4", n=5, side=4, channels=160, features=64, o=6),
)
"""What profiles are fitted to: the same kinds of layers, of other sizes."""


def drawn(count: int) -> tuple[Shape, ...]:
    """Returns layers of random sizes, always the same, evenly spread in the logarithm.

    Args:
        count: How many of each kind; kinds are those of `EVALUATED`.
    """
    generator = random.Random(0)

    def size(low: int, high: int) -> int:
        return round(low * (high / low) ** generator.random())

    found: list[Shape] = []
    for number in range(count):
        found += [
            _dense(
                f"drawn_dense_{number}",
                n=size(4, 128),
                inner=size(32, 512),
                outer=size(32, 512),
                o=size(1, 12),
            ),
            _dense(
                f"drawn_outputs_{number}",
                n=size(2, 6),
                inner=size(24, 128),
                outer=size(24, 128),
                o=size(100, 600),
            ),
            _dense(
                f"drawn_sequence_{number}",
                n=size(4, 16),
                inner=size(24, 128),
                outer=size(24, 128),
                o=size(1, 10),
                positions=size(4, 128),
            ),
            _dense(
                f"drawn_trace_{number}",
                n=size(4, 24),
                inner=size(32, 256),
                outer=size(32, 256),
                o=size(4, 40),
                positions=size(1, 24),
                kernel="trace",
            ),
            _convolution(
                f"drawn_convolution_{number}",
                n=size(4, 12),
                side=size(2, 14),
                channels=size(4, 160),
                features=size(8, 160),
                o=size(3, 10),
            ),
            _embedding(
                f"drawn_embedding_{number}",
                n=size(4, 12),
                positions=size(8, 48),
                rows=size(400, 3000),
                width=size(32, 128),
                o=size(4, 10),
            ),
            _scale(
                f"drawn_scale_{number}",
                n=size(6, 20),
                positions=size(20, 100),
                width=size(48, 256),
                o=size(4, 10),
            ),
        ]
    return tuple(found)


SHAPES = {shape.name: shape for shape in (*EVALUATED, *FITTED)}
