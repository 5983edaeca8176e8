"""Flax Linen: LSTMs by `nn.scan`, layers by `nn.scan`, batch norm in both modes."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import pytest

from tests.case import (
    Problem,
    fill,
    in_dtype_of,
    normal_examples,
    token_examples,
)
from tests.models.whole.model import WholeModel

nn = pytest.importorskip("flax.linen")


def problem(key: jax.Array, module, x1, x2) -> Problem:
    """Returns the problem of a module; what its call changes is forgotten."""
    variables = dict(fill(key, jax.eval_shape(module.init, key, x1)))
    params = variables.pop("params")

    def f(params, x):
        every = {"params": params, **in_dtype_of(params, variables)}
        out, _ = module.apply(every, x, mutable=list(variables))
        return out

    return f, params, x1, x2


def of_normals(key: jax.Array, module, *example_shape: int) -> Problem:
    return problem(key, module, *normal_examples(key, *example_shape))


class ScannedLstm(nn.Module):
    """An LSTM cell by `nn.scan`, read at its last step."""

    @nn.compact
    def __call__(self, x):
        scan = nn.scan(
            nn.LSTMCell,
            variable_broadcast="params",
            split_rngs={"params": False},
            in_axes=1,
            out_axes=1,
        )
        start = jnp.zeros((len(x), 5), x.dtype)
        (_, last), _ = scan(5)((start, start), x)
        return nn.Dense(2)(last)


class BackwardsLstm(nn.Module):
    """Tokens read from both ends by `nn.Bidirectional`."""

    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(11, 4)(tokens)
        start = jnp.zeros((len(x), 3), x.dtype)
        both = nn.Bidirectional(
            nn.RNN(nn.OptimizedLSTMCell(3)), nn.RNN(nn.OptimizedLSTMCell(3))
        )
        x = both(x, initial_carry=((start, start), (start, start)))
        return nn.Dense(2)(x.max(axis=1))


class EncoderBlock(nn.Module):
    @nn.compact
    def __call__(self, x, _):
        normal = nn.LayerNorm()(x)
        x = x + nn.MultiHeadDotProductAttention(num_heads=2)(normal)
        hidden = nn.gelu(nn.Dense(12)(nn.LayerNorm()(x)))
        return x + nn.Dense(6)(hidden), None


class ScannedEncoder(nn.Module):
    """Three rematerialised transformer blocks by one `nn.scan`."""

    @nn.compact
    def __call__(self, x):
        blocks = nn.scan(
            nn.remat(EncoderBlock),
            variable_axes={"params": 0},
            split_rngs={"params": True},
            length=3,
        )
        x, _ = blocks(name="blocks")(x, None)
        return nn.Dense(10)(nn.LayerNorm()(x).mean(axis=1))


class ResidualBlock(nn.Module):
    n_out: int
    stride: int
    trains: bool

    @nn.compact
    def __call__(self, x):
        norm = functools.partial(nn.BatchNorm, use_running_average=not self.trains)
        strides = (self.stride, self.stride)
        y = nn.Conv(self.n_out, (3, 3), strides, use_bias=False)(x)
        y = nn.relu(norm()(y))
        y = norm()(nn.Conv(self.n_out, (3, 3), use_bias=False)(y))
        if y.shape != x.shape:
            x = norm()(nn.Conv(self.n_out, (1, 1), strides, use_bias=False)(x))
        return nn.relu(x + y)


class BatchNormNetwork(nn.Module):
    widths: tuple[int, ...]
    strides: tuple[int, ...]
    trains: bool

    @nn.compact
    def __call__(self, x):
        norm = nn.BatchNorm(use_running_average=not self.trains)
        x = nn.relu(norm(nn.Conv(4, (3, 3), use_bias=False)(x)))
        for n_out, stride in zip(self.widths, self.strides, strict=True):
            x = ResidualBlock(n_out, stride, self.trains)(x)
        return nn.Dense(10)(x.mean(axis=(1, 2)))


def backwards_lstm(key: jax.Array) -> Problem:
    return problem(key, BackwardsLstm(), *token_examples(key, 11, 6))


def batch_norm_network(key: jax.Array, *widths: int, trains: bool) -> Problem:
    strides = (1, 2)[-len(widths) :]
    return of_normals(key, BatchNormNetwork(widths, strides, trains), 6, 6, 2)


NORMALISED = {"*Norm*/scale": ("mul",), "*Norm*/bias": ("add",)}
DENSE = {"*kernel": ("dot_general",), "*bias": ("add",)}
BATCH_NORM_RULES = {
    **NORMALISED,
    "*Conv_*/kernel": ("conv_general_dilated",),
    **DENSE,
}

MODELS = (
    WholeModel(
        name="linen_lstm_by_scan",
        build=lambda key: of_normals(key, ScannedLstm(), 6, 3),
        rules=DENSE,
        scans=True,
        cheap=True,
    ),
    WholeModel(
        name="linen_lstm_both_ways",
        build=backwards_lstm,
        rules={"Embed_0/embedding": ("gather",), **DENSE},
        scans=True,
        slow=True,
    ),
    WholeModel(
        name="linen_scanned_encoder",
        build=lambda key: of_normals(key, ScannedEncoder(), 5, 6),
        rules={**NORMALISED, **DENSE},
        scans=True,
    ),
    WholeModel(
        name="linen_batch_norm_in_use",
        build=lambda key: batch_norm_network(key, 5, trains=False),
        rules=BATCH_NORM_RULES,
    ),
    WholeModel(
        name="linen_batch_norm_in_use_deeper",
        build=lambda key: batch_norm_network(key, 4, 6, trains=False),
        rules=BATCH_NORM_RULES,
        slow=True,
    ),
    WholeModel(
        name="linen_batch_norm_in_training",
        build=lambda key: batch_norm_network(key, 5, trains=True),
        rules=BATCH_NORM_RULES,
        interacts=True,
    ),
    WholeModel(
        name="linen_batch_norm_in_training_deeper",
        build=lambda key: batch_norm_network(key, 4, 6, trains=True),
        rules=BATCH_NORM_RULES,
        interacts=True,
        slow=True,
    ),
)
