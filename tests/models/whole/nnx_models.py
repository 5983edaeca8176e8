"""Flax NNX: a residual network, a vision transformer, a language model, LSTMs."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import pytest

from tests.case import Problem, fill, in_dtype_of, normal_examples, token_examples
from tests.models.whole.model import WholeModel

nnx = pytest.importorskip("flax.nnx")


def split(key: jax.Array, make_module):
    """Returns `f` and the parameters of a module, running statistics closed over."""
    module = nnx.eval_shape(lambda: make_module(nnx.Rngs(0)))
    graph, state = nnx.split(module)
    filled = nnx.merge(graph, fill(key, state))
    graph, params, rest = nnx.split(filled, nnx.Param, ...)

    def f(params, x):
        return nnx.merge(graph, params, in_dtype_of(params, rest))(x)

    return f, params


def of_normals(key: jax.Array, make_module, *example_shape: int) -> Problem:
    return *split(key, make_module), *normal_examples(key, *example_shape)


class ResidualBlock(nnx.Module):
    def __init__(self, n_in, n_out, stride, rngs):
        convolution = functools.partial(nnx.Conv, use_bias=False, rngs=rngs)
        norm = functools.partial(nnx.BatchNorm, use_running_average=True, rngs=rngs)
        self.conv1 = convolution(n_in, n_out, (3, 3), strides=stride)
        self.norm1 = norm(n_out)
        self.conv2 = convolution(n_out, n_out, (3, 3))
        self.norm2 = norm(n_out)
        self.projects = stride != 1 or n_in != n_out
        if self.projects:
            self.projection = convolution(n_in, n_out, (1, 1), strides=stride)
            self.norm3 = norm(n_out)

    def __call__(self, x):
        y = nnx.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        skip = self.norm3(self.projection(x)) if self.projects else x
        return nnx.relu(skip + y)


class ResidualNetwork(nnx.Module):
    """ResNet-18 where there are four stages of two blocks."""

    def __init__(self, n_blocks, widths, rngs):
        self.stem = nnx.Conv(3, widths[0], (7, 7), strides=2, use_bias=False, rngs=rngs)
        self.norm = nnx.BatchNorm(widths[0], use_running_average=True, rngs=rngs)
        blocks, n_in = [], widths[0]
        for stage, n_out in enumerate(widths):
            for number in range(n_blocks):
                stride = 2 if stage and not number else 1
                blocks.append(ResidualBlock(n_in, n_out, stride, rngs))
                n_in = n_out
        self.blocks = nnx.List(blocks)
        self.head = nnx.Linear(n_in, 10, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.norm(self.stem(x)))
        x = nnx.max_pool(x, (3, 3), strides=(2, 2), padding="SAME")
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean(axis=(1, 2)))


class EncoderBlock(nnx.Module):
    def __init__(self, size, rngs):
        self.norm1 = nnx.LayerNorm(size, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, size, decode=False, rngs=rngs)
        self.norm2 = nnx.LayerNorm(size, rngs=rngs)
        self.up = nnx.Linear(size, 2 * size, rngs=rngs)
        self.down = nnx.Linear(2 * size, size, rngs=rngs)

    def __call__(self, x, mask=None):
        x = x + self.attention(self.norm1(x), mask=mask)
        return x + self.down(nnx.gelu(self.up(self.norm2(x))))


class VisionTransformer(nnx.Module):
    def __init__(self, n_blocks, rngs, size=8, patch=4, n_patches=4):
        self.patches = nnx.Conv(
            3, size, (patch, patch), strides=(patch, patch), padding="VALID", rngs=rngs
        )
        self.token = nnx.Param(jnp.zeros((1, 1, size)))
        self.positions = nnx.Param(jnp.zeros((1, 1 + n_patches, size)))
        self.blocks = nnx.List([EncoderBlock(size, rngs) for _ in range(n_blocks)])
        self.norm = nnx.LayerNorm(size, rngs=rngs)
        self.head = nnx.Linear(size, 10, rngs=rngs)

    def __call__(self, x):
        x = self.patches(x)
        x = x.reshape(len(x), -1, x.shape[-1])
        token = jnp.broadcast_to(self.token[...], (len(x), 1, x.shape[-1]))
        x = jnp.concatenate([token, x], axis=1) + self.positions[...]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


class LanguageModel(nnx.Module):
    """GPT-2 with the head tied to the embedding; some logits of two positions."""

    def __init__(self, n_blocks, rngs, size=6, n_tokens=13, n_positions=7):
        self.tokens = nnx.Embed(n_tokens, size, rngs=rngs)
        self.positions = nnx.Embed(n_positions, size, rngs=rngs)
        self.blocks = nnx.List([EncoderBlock(size, rngs) for _ in range(n_blocks)])
        self.norm = nnx.LayerNorm(size, rngs=rngs)

    def __call__(self, tokens):
        x = self.tokens(tokens) + self.positions(jnp.arange(tokens.shape[1]))
        mask = nnx.make_causal_mask(tokens)
        for block in self.blocks:
            x = block(x, mask)
        logits = self.tokens.attend(self.norm(x))
        return logits[:, -2:, jnp.asarray([2, 3, 5, 11])]


def language_model(key: jax.Array, n_blocks: int) -> Problem:
    make = functools.partial(LanguageModel, n_blocks)
    return *split(key, make), *token_examples(key, 13, 5)


class ScannedLstm(nnx.Module):
    """An LSTM cell by `nnx.scan`."""

    def __init__(self, rngs):
        self.cell = nnx.LSTMCell(3, 5, rngs=rngs)
        self.head = nnx.Linear(5, 2, rngs=rngs)

    def __call__(self, x):
        @nnx.scan(in_axes=(None, nnx.Carry, 1), out_axes=(nnx.Carry, 1))
        def scan(cell, state, x):
            return cell(state, x)

        start = jnp.zeros((len(x), 5), x.dtype)
        (_, last), _ = scan(self.cell, (start, start), x)
        return self.head(last)


class RecurrentLstm(nnx.Module):
    """An LSTM cell by `nnx.RNN`, an output at every step."""

    def __init__(self, rngs):
        self.lstm = nnx.RNN(nnx.OptimizedLSTMCell(3, 5, rngs=rngs), rngs=rngs)
        self.head = nnx.Linear(5, 2, rngs=rngs)

    def __call__(self, x):
        start = jnp.zeros((len(x), 5), x.dtype)
        return self.head(self.lstm(x, initial_carry=(start, start)))[:, ::3]


class StackedBlocks(nnx.Module):
    """Residual perceptron blocks of one shape, made and applied by `nnx.scan`."""

    def __init__(self, rngs):
        @nnx.split_rngs(splits=3)
        @nnx.vmap(in_axes=(0,), out_axes=0)
        def make(rngs):
            return nnx.Linear(6, 6, rngs=rngs)

        self.layers = make(rngs)
        self.head = nnx.Linear(6, 3, rngs=rngs)

    def __call__(self, x):
        @nnx.scan(in_axes=(0, nnx.Carry), out_axes=nnx.Carry)
        def scan(layer, x):
            return x + nnx.tanh(layer(x))

        return self.head(scan(self.layers, x))


NORMALISED = {"*norm*/scale/*": ("mul",), "*norm*/bias/*": ("add",)}
DENSE = {"*kernel/*": ("dot_general",), "*bias/*": ("add",)}

RESIDUAL_RULES = {
    **NORMALISED,
    "head/kernel/*": ("dot_general",),
    "head/bias/*": ("add",),
    "*kernel/*": ("conv_general_dilated",),
}
VISION_RULES = {
    **NORMALISED,
    "patches/kernel/*": ("conv_general_dilated",),
    "token/*": ("concatenate",),
    "positions/*": ("add",),
    **DENSE,
}
LANGUAGE_RULES = {
    **NORMALISED,
    "tokens/embedding/*": ("gather", "dot_general"),
    "positions/embedding/*": ("gather", "add"),
    **DENSE,
}


def residual_network(key: jax.Array, n_blocks: int, *widths: int) -> Problem:
    make = functools.partial(ResidualNetwork, n_blocks, widths)
    size = 2 ** (len(widths) + 1)
    return of_normals(key, make, size, size, 3)


def vision_transformer(key: jax.Array, n_blocks: int) -> Problem:
    return of_normals(key, functools.partial(VisionTransformer, n_blocks), 8, 8, 3)


MODELS = (
    WholeModel(
        name="nnx_resnet_6",
        build=lambda key: residual_network(key, 1, 3, 5),
        rules=RESIDUAL_RULES,
    ),
    WholeModel(
        name="nnx_resnet_18",
        build=lambda key: residual_network(key, 2, 3, 4, 5, 6),
        rules=RESIDUAL_RULES,
        slow=True,
    ),
    WholeModel(
        name="nnx_vision_transformer",
        build=lambda key: vision_transformer(key, 1),
        rules=VISION_RULES,
        slow=True,
    ),
    WholeModel(
        name="nnx_vision_transformer_deeper",
        build=lambda key: vision_transformer(key, 2),
        rules=VISION_RULES,
        slow=True,
    ),
    WholeModel(
        name="nnx_language_model",
        build=lambda key: language_model(key, 1),
        rules=LANGUAGE_RULES,
    ),
    WholeModel(
        name="nnx_language_model_deeper",
        build=lambda key: language_model(key, 2),
        rules=LANGUAGE_RULES,
        slow=True,
    ),
    WholeModel(
        name="nnx_lstm_by_scan",
        build=lambda key: of_normals(key, ScannedLstm, 6, 3),
        rules=DENSE,
        scans=True,
    ),
    WholeModel(
        name="nnx_lstm_by_rnn",
        build=lambda key: of_normals(key, RecurrentLstm, 6, 3),
        rules=DENSE,
        scans=True,
        slow=True,
    ),
    WholeModel(
        name="nnx_stacked_blocks",
        build=lambda key: of_normals(key, StackedBlocks, 6),
        rules=DENSE,
        scans=True,
        cheap=True,
    ),
)
