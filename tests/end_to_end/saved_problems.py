"""Small problems whose kernels are saved, one for each form of module."""

from __future__ import annotations

import typing

import jax.numpy as jnp
import numpy as np


class Fields(typing.NamedTuple):
    """Parameters that are read by attributes."""

    w: typing.Any
    rest: typing.Any


def weights(*shapes):
    rng = np.random.default_rng(0)
    return [
        jnp.asarray(rng.normal(size=shape) / shape[0] ** 0.5, jnp.float32)
        for shape in shapes
    ]


def perceptron(params, x):
    for layer in params["layers"][:-1]:
        x = jnp.tanh(x @ layer["w"] + layer["b"])
    return x @ params["layers"][-1]["w"] + params["layers"][-1]["b"]


def normalised(params, x):
    h = (x @ params["w"] - params["mean"]) / jnp.sqrt(params["var"]) * params["scale"]
    return jnp.tanh(h) @ params["v"] * (1 + params["step"])


def embedding(params, x):
    return jnp.tanh(params.w[x["ids"]].mean(1) * x["scale"]) @ params.rest[0]


def batch_normalised(params, x):
    h = x @ params[0]
    return ((h - h.mean(0)) / jnp.sqrt(h.var(0) + 1e-3)) @ params[1]


def heads(params, x):
    h = jnp.tanh(x @ params["w"])
    return {"a": h @ params["u"], "b": (h @ params["v"]).reshape(-1, 2, 2)}


def bottleneck(params, x):
    h = jnp.tanh(jnp.tanh(x @ params[0]) @ params[1])
    return jnp.tanh(h @ params[2]) @ params[3]


def layers(dtype=jnp.float32):
    w0, w1 = weights((5, 7), (7, 3))
    tree = [{"b": jnp.ones(7), "w": w0}, {"b": jnp.ones(3), "w": w1}]
    return {
        "layers": [{k: v.astype(dtype) for k, v in layer.items()} for layer in tree]
    }


def problems():
    """Returns `f, params, x1, x2, options` by name."""
    x = np.random.default_rng(1).normal(size=(40, 50)).astype(np.float32)
    e, u, v, w = weights((10, 4), (4, 3), (4, 4), (5, 4))
    pushed = {"*/w": "ntk_vector_products", "*": "jacobian_contraction"}

    def trainable(path, leaf):
        return path in ("w", "scale", "v")

    stats = {"mean": jnp.ones(4), "var": jnp.ones(4), "scale": jnp.ones(4)}
    norm = {"w": w, "v": u, "step": jnp.zeros((), jnp.int32), **stats}
    ids = {"ids": np.zeros((3, 7), np.int32), "scale": np.ones((3, 1), np.float32)}
    short = x[:4, :5].astype(jnp.bfloat16)
    return {
        "trace": (perceptron, layers(), x[:4, :5], x[:6, :5], {"kernel": "trace"}),
        "pushed": (perceptron, layers(), x[:4, :5], None, {"methods": pushed}),
        "fixed": (
            normalised,
            norm,
            x[:4, :5],
            None,
            {"wrt": trainable, "pairs": "matched", "kernel": "diagonal"},
        ),
        "attributes": (embedding, Fields(e, [v]), ids, None, {}),
        "batch": (batch_normalised, [w, u], x[:6, :5], None, {"batch_axis": None}),
        "heads": (heads, {"w": w, "u": u, "v": v}, x[:4, :5], None, {}),
        "logits": (
            perceptron,
            layers(),
            x[:4, :5],
            None,
            {"kernel": "sum_of_logits", "batch_axis": -2},
        ),
        "cut": (
            bottleneck,
            weights((50, 60), (60, 2), (2, 50), (50, 64)),
            x[:30],
            None,
            {},
        ),
        "tiles": (
            perceptron,
            layers(),
            np.zeros((400, 5), np.float32),
            None,
            {"memory_limit": "1.3MiB", "kernel": "trace"},
        ),
        "half": (perceptron, layers(jnp.bfloat16), short, None, {}),
    }
