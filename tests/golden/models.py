"""Models whose emitted source is kept in `kernels/`, to be read and compared."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

N1, N2 = 4, 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Golden:
    """A model, the arrays it is planned for, and what is asked of the plan.

    Attributes:
        build: Returns the model, its parameters, `x1` and `x2`.
        options: Arguments of `ntkplan.plan`.
        kernel: Those among them that say which kernel it is.
    """

    build: Callable[[], tuple[Callable[..., Any], Any, Any, Any]]
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    kernel: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def _arrays(seed: int = 0) -> Callable[..., np.ndarray]:
    """Returns a maker of small random arrays, scaled as weights are."""
    generator = np.random.default_rng(seed)

    def make(*shape: int) -> np.ndarray:
        scale = math.prod(shape[:-1]) ** -0.5 if len(shape) > 1 else 0.5
        return (scale * generator.normal(size=shape)).astype(np.float32)

    return make


def _examples(*shape: int) -> tuple[np.ndarray, np.ndarray]:
    values = np.random.default_rng(1).normal(size=(N1 + N2, *shape))
    return tuple(np.split(values.astype(np.float32), [N1]))


def _tokens(n_tokens: int, *shape: int) -> tuple[np.ndarray, np.ndarray]:
    values = np.random.default_rng(1).integers(n_tokens, size=(N1 + N2, *shape))
    return tuple(np.split(values.astype(np.int32), [N1]))


def _conv(kernel, x, strides=1):
    return lax.conv_general_dilated(
        x, kernel, (strides, strides), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def perceptron():
    """Three dense layers."""
    new = _arrays()
    sizes = [(8, 16), (16, 16), (16, 3)]
    params = [{"w": new(*size), "b": new(size[1])} for size in sizes]

    def f(params, x):
        *hidden, last = params
        for layer in hidden:
            x = jax.nn.relu(x @ layer["w"] + layer["b"])
        return x @ last["w"] + last["b"]

    return f, params, *_examples(8)


def parametrized():
    """Dense layers of unlike widths, each scaled by the root of its own."""
    new = _arrays()
    widths = (8, 16, 24, 12, 3)
    params = [
        {"w": new(*shape), "b": new(shape[1])}
        for shape in zip(widths, widths[1:], strict=False)
    ]

    def f(params, x):
        for number, layer in enumerate(params):
            x = 1.4 / math.sqrt(x.shape[-1]) * (x @ layer["w"]) + 0.1 * layer["b"]
            x = jax.nn.gelu(x) if number < len(params) - 1 else x
        return x

    return f, params, *_examples(8)


def paired():
    """The same layers, with as many examples in `x2` as in `x1`."""
    f, params, x1, _ = perceptron()
    return f, params, x1, -x1


def convolutional():
    """Two convolutions and a dense layer on all positions."""
    new = _arrays()
    params = {
        "conv1": {"kernel": new(3, 3, 3, 8), "bias": new(8)},
        "conv2": {"kernel": new(3, 3, 8, 8), "bias": new(8)},
        "dense": {"kernel": new(4 * 4 * 8, 5), "bias": new(5)},
    }

    def f(params, x):
        for name in ("conv1", "conv2"):
            x = _conv(params[name]["kernel"], x, strides=2) + params[name]["bias"]
            x = jax.nn.gelu(x)
        x = x.reshape(len(x), -1)
        return x @ params["dense"]["kernel"] + params["dense"]["bias"]

    return f, params, *_examples(16, 16, 3)


def pooled():
    """A convolutional network that averages over positions."""
    new = _arrays()
    params = {"conv1": new(3, 3, 3, 8), "conv2": new(3, 3, 8, 16), "head": new(16, 10)}

    def f(params, x):
        x = jax.nn.relu(_conv(params["conv1"], x))
        x = jax.nn.relu(_conv(params["conv2"], x))
        return x.mean((1, 2)) @ params["head"]

    return f, params, *_examples(8, 8, 3)


def residual():
    """Residual blocks of two widths, with scales and shifts."""
    new = _arrays()

    def block(width_in, width):
        params = {
            "conv1": new(3, 3, width_in, width),
            "conv2": new(3, 3, width, width),
            "norm1": {"scale": new(width), "shift": new(width)},
            "norm2": {"scale": new(width), "shift": new(width)},
        }
        return params | ({"skip": new(1, 1, width_in, width)} if width_in != width else {})

    widths = [(8, 8), (8, 8), (8, 16), (16, 16), (16, 16)]
    params = {
        "stem": new(3, 3, 3, 8),
        "blocks": [block(*pair) for pair in widths],
        "head": {"w": new(16, 4), "b": new(4)},
    }

    def norm(params, x):
        return x * params["scale"] + params["shift"]

    def f(params, x):
        x = _conv(params["stem"], x)
        for block in params["blocks"]:
            strides = 2 if "skip" in block else 1
            y = jax.nn.relu(norm(block["norm1"], _conv(block["conv1"], x, strides)))
            y = norm(block["norm2"], _conv(block["conv2"], y))
            if "skip" in block:
                x = _conv(block["skip"], x, strides)
            x = jax.nn.relu(x + y)
        return x.mean((1, 2)) @ params["head"]["w"] + params["head"]["b"]

    return f, params, *_examples(8, 8, 3)


def language_model():
    """A transformer like GPT-2: tied embedding, three logits of the last position."""
    new = _arrays()
    width, heads, n_tokens, length = 16, 2, 50, 6

    def norm_params():
        return {"scale": new(width), "shift": new(width)}

    def block():
        return {
            "norm1": norm_params(),
            "qkv": {"w": new(width, 3 * width), "b": new(3 * width)},
            "out": {"w": new(width, width), "b": new(width)},
            "norm2": norm_params(),
            "up": {"w": new(width, 4 * width), "b": new(4 * width)},
            "down": {"w": new(4 * width, width), "b": new(width)},
        }

    params = {
        "tokens": new(n_tokens, width),
        "positions": new(length, width),
        "blocks": [block() for _ in range(4)],
        "norm": norm_params(),
    }

    def norm(params, x):
        mean = x.mean(-1, keepdims=True)
        variance = x.var(-1, keepdims=True)
        return (x - mean) * lax.rsqrt(variance + 1e-5) * params["scale"] + params["shift"]

    def dense(params, x):
        return x @ params["w"] + params["b"]

    def attention(params, x):
        n, t, _ = x.shape
        q, k, v = jnp.split(dense(params["qkv"], x), 3, axis=-1)
        q, k, v = (a.reshape(n, t, heads, -1) for a in (q, k, v))
        logits = jnp.einsum("nthd,nshd->nhts", q, k) / math.sqrt(width // heads)
        mask = jnp.tril(jnp.ones((t, t), bool))
        weights = jax.nn.softmax(jnp.where(mask, logits, -jnp.inf))
        mixed = jnp.einsum("nhts,nshd->nthd", weights, v).reshape(n, t, width)
        return dense(params["out"], mixed)

    def f(params, tokens):
        x = params["tokens"][tokens] + params["positions"]
        for block in params["blocks"]:
            x = x + attention(block, norm(block["norm1"], x))
            h = jax.nn.gelu(dense(block["up"], norm(block["norm2"], x)))
            x = x + dense(block["down"], h)
        last = norm(params["norm"], x)[:, -1]
        return last @ params["tokens"][jnp.array([3, 14, 15])].T

    return f, params, *_tokens(n_tokens, length)


def recurrent():
    """A recurrent network in `lax.scan`."""
    new = _arrays()
    params = {"w": new(5, 12), "u": new(12, 12), "b": new(12), "readout": new(12, 3)}

    def f(params, x):
        def step(state, given):
            state = jnp.tanh(given @ params["w"] + state @ params["u"] + params["b"])
            return state, None

        start = jnp.zeros((len(x), 12))
        state, _ = lax.scan(step, start, x.swapaxes(0, 1))
        return state @ params["readout"]

    return f, params, *_examples(7, 5)


def mixture():
    """A mixture of experts, their weights in one array."""
    new = _arrays()
    params = {"gate": new(6, 4), "up": new(4, 6, 10), "down": new(4, 10, 3)}

    def f(params, x):
        weights = jax.nn.softmax(x @ params["gate"])
        hidden = jax.nn.silu(jnp.einsum("nx,exh->neh", x, params["up"]))
        outputs = jnp.einsum("neh,ehy->ney", hidden, params["down"])
        return jnp.einsum("ne,ney->ny", weights, outputs)

    return f, params, *_examples(6)


def physics():
    """The Laplacian of a network, as in a loss that knows the equation."""
    new = _arrays()
    params = {"w1": new(2, 12), "b1": new(12), "w2": new(12, 12), "w3": new(12)}

    def u(params, point):
        h = jnp.tanh(point @ params["w1"] + params["b1"])
        return jnp.tanh(h @ params["w2"]) @ params["w3"]

    def f(params, x):
        def laplacian(point):
            return jnp.trace(jax.hessian(u, argnums=1)(params, point))[None]

        return jax.vmap(laplacian)(x)

    return f, params, *_examples(2)


def u_net():
    """Down, up, and what was there before beside it; the mean of every channel."""
    new = _arrays()
    params = {"down": new(3, 3, 2, 6), "middle": new(3, 3, 6, 6), "up": new(3, 3, 8, 4)}

    def f(params, x):
        y = jax.nn.relu(_conv(params["down"], x, strides=2))
        y = jax.nn.relu(_conv(params["middle"], y))
        y = jnp.repeat(jnp.repeat(y, 2, axis=1), 2, axis=2)
        return _conv(params["up"], jnp.concatenate([x, y], axis=-1)).mean((1, 2))

    return f, params, *_examples(8, 8, 2)


def low_rank():
    """A frozen weight with a correction of low rank, of which the kernel is."""
    new = _arrays()
    params = {"w": new(20, 20), "a": new(20, 2), "b": new(2, 20), "readout": new(20, 2)}

    def f(params, x):
        weight = params["w"] + params["a"] @ params["b"]
        return jax.nn.relu(x @ weight) @ params["readout"]

    return f, params, *_examples(20)


@jax.custom_jvp
def _smooth(x):
    return jnp.where(x > 0, x, 0.1 * x)


@_smooth.defjvp
def _smooth_jvp(primals, tangents):
    (x,), (tangent,) = primals, tangents
    return _smooth(x), jnp.where(x > 0, 1.0, 0.2) * tangent


@jax.custom_vjp
def _clipped(x):
    return x


_clipped.defvjp(lambda x: (x, None), lambda _, given: (jnp.clip(given, -0.5, 0.5),))


def own_derivatives():
    """Functions whose derivatives are the user's own."""
    new = _arrays()
    params = {"w1": new(6, 10), "w2": new(10, 10), "w3": new(10, 2)}

    def f(params, x):
        x = _smooth(x @ params["w1"])
        return _clipped(jnp.sin(x @ params["w2"])) @ params["w3"]

    return f, params, *_examples(6)


def branches():
    """A branch that is taken example by example, and a loop in it."""
    new = _arrays()
    params = {"w": new(6, 6), "v": new(6, 6), "readout": new(6, 2)}

    def one(params, x):
        def deep(x):
            return lax.fori_loop(0, 3, lambda _, x: jnp.tanh(x @ params["w"]), x)

        x = lax.cond(x.sum() > 0, deep, lambda x: x @ params["v"], x)
        return x @ params["readout"]

    def f(params, x):
        return jax.vmap(one, (None, 0))(params, x)

    return f, params, *_examples(6)


def batch_norm():
    """Normalised over the batch, so that its examples interact."""
    new = _arrays()
    params = {"w1": new(6, 8), "scale": new(8), "shift": new(8), "w2": new(8, 2)}

    def f(params, x):
        x = x @ params["w1"]
        x = (x - x.mean(0)) / jnp.sqrt(x.var(0) + 1e-5)
        return jax.nn.relu(x * params["scale"] + params["shift"]) @ params["w2"]

    x1, _ = _examples(6)
    return f, params, x1, -x1


def two_outputs():
    """A dictionary of outputs of one trunk."""
    new = _arrays()
    params = {"trunk": new(6, 12), "policy": new(12, 4), "value": new(12, 1)}

    def f(params, x):
        h = jnp.tanh(x @ params["trunk"])
        return {"policy": h @ params["policy"], "value": h @ params["value"]}

    return f, params, *_examples(6)


def bottleneck():
    """Narrower in its middle than its outputs are many."""
    new = _arrays()
    params = {"encode": new(40, 40), "code": new(40, 2), "decode": new(2, 60)}

    def f(params, x):
        code = jnp.tanh(jnp.tanh(x @ params["encode"]) @ params["code"])
        return jnp.sin(code @ params["decode"])

    return f, params, *_examples(40)


GOLDEN = {
    "perceptron": Golden(build=perceptron),
    "perceptron_trace": Golden(build=perceptron, kernel={"kernel": "trace"}),
    "perceptron_matched": Golden(build=paired, kernel={"pairs": "matched"}),
    "perceptron_pushed": Golden(
        build=perceptron, options={"methods": "ntk_vector_products"}
    ),
    "parametrized": Golden(build=parametrized),
    "convolutional": Golden(build=convolutional),
    "pooled": Golden(build=pooled, kernel={"kernel": "diagonal"}),
    "residual": Golden(build=residual),
    "language_model": Golden(build=language_model),
    "recurrent": Golden(build=recurrent),
    "mixture": Golden(build=mixture, kernel={"kernel": "sum_of_logits"}),
    "physics": Golden(build=physics),
    "u_net": Golden(build=u_net),
    "low_rank": Golden(
        build=low_rank, kernel={"wrt": lambda path, leaf: path in ("a", "b")}
    ),
    "own_derivatives": Golden(build=own_derivatives),
    "branches": Golden(build=branches),
    "batch_norm": Golden(build=batch_norm, options={"batch_axis": None}),
    "two_outputs": Golden(build=two_outputs),
    "bottleneck": Golden(build=bottleneck),
    "tiled": Golden(build=convolutional, options={"memory_limit": "300KiB"}),
}
