"""Models whose kernels are compiled for devices, at sizes that need some memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """A model, with the shapes of what it takes.

    Attributes:
        name: Its name.
        f: The model.
        params: Shapes of its parameters, by name.
        x: Shape of `x1`, the example axis first.
        dtype: Data type of `x1`.
        kernel: Which kernel is compiled.
    """

    name: str
    f: Callable[..., Any]
    params: dict[str, tuple[int, ...]]
    x: tuple[int, ...]
    dtype: str = "float32"
    kernel: str = "full"

    @property
    def specs(self) -> tuple[dict[str, jax.ShapeDtypeStruct], jax.ShapeDtypeStruct]:
        """Specifications of `params` and `x1`."""
        params = {
            name: jax.ShapeDtypeStruct(shape, "float32")
            for name, shape in self.params.items()
        }
        return params, jax.ShapeDtypeStruct(self.x, self.dtype)


def perceptron(params, x):
    hidden = jnp.tanh(x @ params["w0"] + params["b0"])
    hidden = jnp.tanh(hidden @ params["w1"] + params["b1"])
    return hidden @ params["head"]


def convolutional(params, x):
    numbers = ("NHWC", "HWIO", "NHWC")
    for name, stride in (("c0", 1), ("c1", 2), ("c2", 1)):
        x = lax.conv_general_dilated(
            x, params[name], (stride, stride), "SAME", dimension_numbers=numbers
        )
        x = jax.nn.gelu(x)
    return x.mean((1, 2)) @ params["head"]


def attention(params, x):
    q, k, v = (
        (x @ params[name]).reshape(*x.shape[:2], 4, -1) for name in ("q", "k", "v")
    )
    scores = jnp.einsum("nshc,nthc->nhst", q, k) / q.shape[-1] ** 0.5
    mixed = jnp.einsum("nhst,nthc->nshc", jax.nn.softmax(scores), v)
    x = x + mixed.reshape(x.shape) @ params["o"]
    x = x + jax.nn.gelu(x @ params["up"]) @ params["down"]
    return x.mean(1) @ params["head"]


def recurrent(params, x):
    def step(state, token):
        state = jnp.tanh(state @ params["w"] + token @ params["u"] + params["b"])
        return state, None

    start = jnp.zeros((x.shape[0], params["w"].shape[0]), x.dtype)
    state, _ = lax.scan(step, start, jnp.moveaxis(x, 1, 0))
    return state @ params["head"]


def embedding(params, x):
    hidden = jnp.tanh(params["table"][x] @ params["w"])
    return hidden.mean(1) @ params["head"]


PERCEPTRON = Subject(
    name="perceptron",
    f=perceptron,
    params={
        "w0": (768, 1024),
        "b0": (1024,),
        "w1": (1024, 1024),
        "b1": (1024,),
        "head": (1024, 16),
    },
    x=(512, 768),
)
CONVOLUTIONAL = Subject(
    name="convolutional",
    f=convolutional,
    params={
        "c0": (3, 3, 3, 32),
        "c1": (3, 3, 32, 64),
        "c2": (3, 3, 64, 64),
        "head": (64, 8),
    },
    x=(32, 32, 32, 3),
)
ATTENTION = Subject(
    name="attention",
    f=attention,
    params={
        **{name: (256, 256) for name in "qkvo"},
        "up": (256, 1024),
        "down": (1024, 256),
        "head": (256, 8),
    },
    x=(32, 64, 256),
)
RECURRENT = Subject(
    name="recurrent",
    f=recurrent,
    params={"w": (256, 256), "u": (128, 256), "b": (256,), "head": (256, 8)},
    x=(64, 32, 128),
)
EMBEDDING = Subject(
    name="embedding",
    f=embedding,
    params={"table": (10_000, 128), "w": (128, 256), "head": (256, 8)},
    x=(64, 64),
    dtype="int32",
)
SUBJECTS = (PERCEPTRON, CONVOLUTIONAL, ATTENTION, RECURRENT, EMBEDDING)
