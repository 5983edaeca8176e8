"""Networks of dense layers in plain JAX: perceptrons, tied weights, adapters."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from tests.case import Case, Problem, normal_examples, normal_params


def dense_params(key: jax.Array, *sizes: int) -> list[dict[str, jax.Array]]:
    """Returns one `{"w", "b"}` for every step from a size to the next."""
    keys = jax.random.split(key, len(sizes) - 1)
    pairs = zip(keys, sizes[:-1], sizes[1:], strict=True)
    return [normal_params(k, w=(n_in, n_out), b=(n_out,)) for k, n_in, n_out in pairs]


def perceptron(params, x):
    for layer in params[:-1]:
        x = jax.nn.relu(x @ layer["w"] + layer["b"])
    return x @ params[-1]["w"] + params[-1]["b"]


def mlp(key: jax.Array) -> Problem:
    x1, x2 = normal_examples(key, 7)
    return perceptron, dense_params(key, 7, 13, 11, 5), x1, x2


def mlp_matrix_output(key: jax.Array) -> Problem:
    """No bias, two output axes."""
    params = normal_params(key, first=(7, 11), second=(11, 6))
    x1, x2 = normal_examples(key, 7)

    def f(params, x):
        return (jnp.tanh(x @ params["first"]) @ params["second"]).reshape(-1, 2, 3)

    return f, params, x1, x2


def mlp_no_output_axis(key: jax.Array) -> Problem:
    """A regression: one number for one example, outputs of shape `[n]`."""
    x1, x2 = normal_examples(key, 5)

    def f(params, x):
        return perceptron(params, x)[:, 0]

    return f, dense_params(key, 5, 7, 1), x1, x2


def mlp_of_dictionary(key: jax.Array) -> Problem:
    """Examples as a pytree, two branches that meet."""
    params = normal_params(
        key, w_left=(5, 11), w_right=(3, 11), b=(11,), w_head=(11, 2)
    )
    left1, left2 = normal_examples(key, 5)
    right1, right2 = normal_examples(jax.random.fold_in(key, 1), 3)

    def f(params, x):
        h = x["left"] @ params["w_left"] + x["right"] @ params["w_right"] + params["b"]
        return jax.nn.silu(h) @ params["w_head"]

    return f, params, {"left": left1, "right": right1}, {"left": left2, "right": right2}


def mlp_on_positions(key: jax.Array) -> Problem:
    """The same dense layers at every position, mixed along positions (a mixer)."""
    params = normal_params(key, w1=(3, 7), b1=(7,), mix=(5, 5), w2=(7, 2), g=(2,))
    x1, x2 = normal_examples(key, 5, 3)

    def f(params, x):
        h = jnp.tanh(x @ params["w1"] + params["b1"])
        h = jnp.einsum("nsc,st->ntc", h, params["mix"])
        return jax.nn.gelu(h @ params["w2"]) * params["g"]

    return f, params, x1, x2


def tied_autoencoder(key: jax.Array) -> Problem:
    """One matrix encodes and, transposed, decodes."""
    params = normal_params(key, w=(7, 5), b_code=(5,), b_out=(7,))
    x1, x2 = normal_examples(key, 7)

    def f(params, x):
        code = jnp.tanh(x @ params["w"] + params["b_code"])
        return code @ params["w"].T + params["b_out"]

    return f, params, x1, x2


def tied_repeated(key: jax.Array) -> Problem:
    """One matrix in three layers, once transposed, and once against itself."""
    params = normal_params(key, u=(5, 5), b=(5,), head=(5, 3))
    x1, x2 = normal_examples(key, 5)

    def f(params, x):
        h = jnp.tanh(x @ params["u"] + params["b"])
        h = jnp.tanh(h @ params["u"].T + h @ (params["u"] @ params["u"]) + params["b"])
        return (h @ params["u"]) @ params["head"]

    return f, params, x1, x2


def low_rank_adapter(key: jax.Array) -> Problem:
    """A weight plus a product of two thin ones (LoRA): a weight from weights."""
    params = normal_params(key, w=(7, 11), down=(7, 2), up=(2, 11), head=(11, 3))
    x1, x2 = normal_examples(key, 7)

    def f(params, x):
        h = jnp.tanh(x @ params["w"] + (x @ params["down"]) @ params["up"])
        return h @ params["head"]

    return f, params, x1, x2


def bilinear(key: jax.Array) -> Problem:
    """A bilinear form, and weights that differ from position to position."""
    params = normal_params(key, form=(3, 5, 2), local=(2, 4, 3))
    x1, x2 = normal_examples(key, 2, 4)

    def f(params, x):
        left = jnp.tanh(jnp.einsum("nsi,sij->nsj", x, params["local"]))
        right = jnp.concatenate([x[:, 0], x[:, 1, :1]], axis=-1)
        return jnp.einsum("nj,jko,nk->no", left.sum(axis=1), params["form"], right)

    return f, params, x1, x2


CASES = (
    Case(name="plain_mlp", build=mlp),
    Case(name="plain_mlp_matrix_output", build=mlp_matrix_output),
    Case(name="plain_mlp_no_output_axis", build=mlp_no_output_axis),
    Case(name="plain_mlp_of_dictionary", build=mlp_of_dictionary),
    Case(name="plain_mlp_on_positions", build=mlp_on_positions),
    Case(name="plain_tied_autoencoder", build=tied_autoencoder),
    Case(name="plain_tied_repeated", build=tied_repeated),
    Case(name="plain_low_rank_adapter", build=low_rank_adapter),
    Case(name="plain_bilinear", build=bilinear),
)
