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
    for name, stride in (("c0", 1), ("c1", 2)):
        x = lax.conv_general_dilated(
            x, params[name], (stride, stride), "SAME", dimension_numbers=numbers
        )
        x = jax.nn.relu(x)
    return x.reshape(x.shape[0], -1) @ params["head"]


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
        "w0": (256, 512),
        "b0": (512,),
        "w1": (512, 512),
        "b1": (512,),
        "head": (512, 10),
    },
    x=(384, 256),
)
CONVOLUTIONAL = Subject(
    name="convolutional",
    f=convolutional,
    params={
        "c0": (3, 3, 3, 64),
        "c1": (3, 3, 64, 128),
        "head": (8 * 8 * 128, 10),
    },
    x=(24, 16, 16, 3),
)
ATTENTION = Subject(
    name="attention",
    f=attention,
    params={
        **dict.fromkeys("qkvo", (128, 128)),
        "up": (128, 512),
        "down": (512, 128),
        "head": (128, 8),
    },
    x=(32, 32, 128),
)
RECURRENT = Subject(
    name="recurrent",
    f=recurrent,
    params={"w": (128, 128), "u": (64, 128), "b": (128,), "head": (128, 8)},
    x=(128, 16, 64),
)
EMBEDDING = Subject(
    name="embedding",
    f=embedding,
    params={"table": (2_000, 128), "w": (128, 128), "head": (128, 8)},
    x=(32, 32),
    dtype="int32",
)
SUBJECTS = (PERCEPTRON, CONVOLUTIONAL, ATTENTION, RECURRENT, EMBEDDING)
