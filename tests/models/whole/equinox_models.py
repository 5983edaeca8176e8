"""Equinox: a GRU, an MLP-mixer, U-Nets."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from tests.case import Problem, fill, normal_examples
from tests.models.whole.model import WholeModel

eqx = pytest.importorskip("equinox")


def build(key: jax.Array, make_module, *example_shape: int) -> Problem:
    module = fill(key, eqx.filter_eval_shape(make_module, key))
    params, static = eqx.partition(module, eqx.is_inexact_array)

    def f(params, x):
        return jax.vmap(eqx.combine(params, static))(x)

    return f, params, *normal_examples(key, *example_shape)


class GatedNetwork(eqx.Module):
    """A GRU cell by `lax.scan`."""

    cell: eqx.nn.GRUCell
    head: eqx.nn.Linear

    def __init__(self, key):
        keys = jax.random.split(key)
        self.cell = eqx.nn.GRUCell(3, 5, key=keys[0])
        self.head = eqx.nn.Linear(5, 2, key=keys[1])

    def __call__(self, x):
        def step(state, x):
            return self.cell(x, state), None

        state, _ = lax.scan(step, jnp.zeros(5, x.dtype), x)
        return self.head(state)


class MixerBlock(eqx.Module):
    norm1: eqx.nn.LayerNorm
    tokens: eqx.nn.MLP
    norm2: eqx.nn.LayerNorm
    channels: eqx.nn.MLP

    def __init__(self, n_patches, size, key):
        keys = jax.random.split(key)
        self.norm1 = eqx.nn.LayerNorm((size, n_patches))
        self.norm2 = eqx.nn.LayerNorm((n_patches, size))
        gelu = jax.nn.gelu
        self.tokens = eqx.nn.MLP(
            n_patches, n_patches, 7, 1, activation=gelu, key=keys[0]
        )
        self.channels = eqx.nn.MLP(size, size, 10, 1, activation=gelu, key=keys[1])

    def __call__(self, x):
        x = x + jax.vmap(self.tokens)(self.norm1(x))
        x = x.T
        x = x + jax.vmap(self.channels)(self.norm2(x))
        return x.T


class Mixer(eqx.Module):
    patches: eqx.nn.Conv2d
    blocks: list
    norm: eqx.nn.LayerNorm
    head: eqx.nn.Linear

    def __init__(self, n_blocks, key):
        first, last, *keys = jax.random.split(key, 2 + n_blocks)
        self.patches = eqx.nn.Conv2d(3, 5, 2, stride=2, key=first)
        self.blocks = [MixerBlock(6, 5, key) for key in keys]
        self.norm = eqx.nn.LayerNorm((5, 6))
        self.head = eqx.nn.Linear(5, 3, key=last)

    def __call__(self, x):
        x = self.patches(x)
        x = x.reshape(x.shape[0], -1)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean(axis=1))


class TwoConvolutions(eqx.Module):
    conv1: eqx.nn.Conv2d
    norm: eqx.nn.GroupNorm
    conv2: eqx.nn.Conv2d

    def __init__(self, n_in, n_out, key):
        keys = jax.random.split(key)
        self.conv1 = eqx.nn.Conv2d(n_in, n_out, 3, padding=1, key=keys[0])
        self.norm = eqx.nn.GroupNorm(groups=2, channels=n_out)
        self.conv2 = eqx.nn.Conv2d(n_out, n_out, 3, padding=1, key=keys[1])

    def __call__(self, x):
        return jax.nn.silu(self.conv2(jax.nn.silu(self.norm(self.conv1(x)))))


class UNet(eqx.Module):
    """Down by pooling, up by transposed convolutions, skips concatenated."""

    downs: list
    bottom: TwoConvolutions
    expansions: list
    ups: list
    head: eqx.nn.Conv2d

    def __init__(self, widths, key):
        *widths, bottom = widths
        keys = iter(jax.random.split(key, 3 * len(widths) + 2))
        n_ins = (2, *widths[:-1])
        self.downs = [
            TwoConvolutions(n_in, n_out, next(keys))
            for n_in, n_out in zip(n_ins, widths, strict=True)
        ]
        self.bottom = TwoConvolutions(widths[-1], bottom, next(keys))
        self.expansions = [
            eqx.nn.ConvTranspose2d(n_in, n_out, 2, stride=2, key=next(keys))
            for n_out, n_in in zip(widths, (*widths[1:], bottom), strict=True)
        ]
        self.ups = [TwoConvolutions(2 * n_out, n_out, next(keys)) for n_out in widths]
        self.head = eqx.nn.Conv2d(widths[0], 1, 1, key=next(keys))

    def __call__(self, x):
        pool = eqx.nn.MaxPool2d(2, 2)
        skips = []
        for down in self.downs:
            x = down(x)
            skips.append(x)
            x = pool(x)
        x = self.bottom(x)
        for expansion, up, skip in zip(
            self.expansions[::-1], self.ups[::-1], skips[::-1], strict=True
        ):
            x = up(jnp.concatenate([skip, expansion(x)]))
        # Every pixel is an output; some of them are enough for a kernel.
        return self.head(x)[0, ::2, 1::2]


def mixer(key: jax.Array, n_blocks: int) -> Problem:
    return build(key, functools.partial(Mixer, n_blocks), 3, 4, 6)


def u_net(key: jax.Array, *widths: int) -> Problem:
    size = 2 ** (len(widths) + 1)
    return build(key, functools.partial(UNet, widths), 2, size, size)


DENSE = {"*weight*": ("dot_general",), "*bias*": ("add",)}
MIXER_RULES = {
    "*norm*/weight": ("mul",),
    "patches/weight": ("conv_general_dilated",),
    **DENSE,
}
U_NET_RULES = {
    "*norm*/weight": ("mul",),
    "expansions/*/weight": ("conv_general_dilated",),
    "*weight": ("conv_general_dilated",),
    "*bias": ("add",),
}

MODELS = (
    WholeModel(
        name="equinox_gru_by_scan",
        build=lambda key: build(key, GatedNetwork, 6, 3),
        rules=DENSE,
        scans=True,
    ),
    WholeModel(
        name="equinox_mixer",
        build=lambda key: mixer(key, 1),
        rules=MIXER_RULES,
    ),
    WholeModel(
        name="equinox_mixer_deeper",
        build=lambda key: mixer(key, 2),
        rules=MIXER_RULES,
        slow=True,
    ),
    WholeModel(
        name="equinox_u_net",
        build=lambda key: u_net(key, 2, 4),
        rules=U_NET_RULES,
    ),
    WholeModel(
        name="equinox_u_net_deeper",
        build=lambda key: u_net(key, 2, 4, 6),
        rules=U_NET_RULES,
        slow=True,
    ),
)
