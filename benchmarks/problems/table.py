"""The configurations that are measured.

Sizes are such that every method is the best one somewhere: structured derivatives for
dense layers, Jacobian contraction for convolutions with many positions, NTK-vector
products for many outputs of few examples.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.problems.convolutional import convolutional, pooled, resnet18
from benchmarks.problems.layers import group_norm
from benchmarks.problems.network import Network
from benchmarks.problems.perceptrons import perceptron
from benchmarks.problems.sequences import recurrent, token_transformer, transformer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inputs:
    """A model with its arguments.

    Attributes:
        f: The model, `f(params, x)`.
        params: Its parameters.
        x1: Examples, `[n1, ...]`.
        x2: Other examples, `[n2, ...]`, or None for the kernel of `x1` with itself.
    """

    f: Callable[[Any, jax.Array], jax.Array]
    params: Any
    x1: jax.Array
    x2: jax.Array | None

    @property
    def arguments(self) -> tuple[Any, ...]:
        """What a kernel function is called with."""
        return (self.params, self.x1, *([] if self.x2 is None else [self.x2]))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problem:
    """A configuration.

    Attributes:
        name: Its name; says the model, the examples and the outputs.
        family: What kind of model it is.
        network: The model.
        n1: Examples in `x1`.
        n2: Examples in `x2`, or None where `x2` is absent.
    """

    name: str
    family: str
    network: Network
    n1: int
    n2: int | None = None

    def build(self) -> Inputs:
        """Makes parameters and examples, always the same ones."""
        params_key, x_key = jax.random.split(jax.random.PRNGKey(0))
        x2 = None
        if self.n2 is not None:
            x2 = self._examples(jax.random.fold_in(x_key, 1), self.n2)
        return Inputs(
            f=self.network.apply,
            params=self.network.init(params_key),
            x1=self._examples(x_key, self.n1),
            x2=x2,
        )

    def _examples(self, key: jax.Array, count: int) -> jax.Array:
        shape = (count, *self.network.example_shape)
        if self.network.vocabulary is None:
            return jax.random.normal(key, shape, jnp.float32)
        return jax.random.randint(key, shape, 0, self.network.vocabulary)


def _perceptrons() -> list[Problem]:
    def one(name: str, n1: int, **options: Any) -> Problem:
        network = perceptron(**options)
        return Problem(name=name, family="perceptron", network=network, n1=n1)

    return [
        one("mlp_n32_o1", 32, n_outputs=1),
        one("mlp_n32_o10", 32),
        one("mlp_n64_o10", 64),
        one("mlp_n16_o100", 16, n_outputs=100),
        one("mlp_n1_o10", 1),
        one("mlp_wide_n32_o10", 32, n_in=64, width=4096, depth=1),
        one("mlp_narrow_n512_o1", 512, n_in=32, width=128, n_outputs=1),
        one("mlp_narrow_n1_o1000", 1, n_in=32, width=16, depth=6, n_outputs=1000),
    ]


def _convolutional() -> list[Problem]:
    def one(name: str, network: Network, n1: int, n2: int | None = None) -> Problem:
        return Problem(name=name, family="convolutional", network=network, n1=n1, n2=n2)

    return [
        one("cnn_average_n8_o10", convolutional(), 8),
        one("cnn_average_n16_o10", convolutional(), 16),
        one("cnn_flatten_n8_o10", convolutional(head="flatten"), 8),
        one("cnn_flatten_n16_o10", convolutional(head="flatten"), 16),
        one("cnn_pooled_n32_o10", pooled(), 32),
        one("cnn_pooled_n64_n16_o10", pooled(), 64, 16),
    ]


def _residual() -> list[Problem]:
    def one(name: str, n1: int, **options: Any) -> Problem:
        network = resnet18(**options)
        return Problem(name=name, family="residual", network=network, n1=n1)

    return [
        one("resnet18_n4_o10", 4),
        one("resnet18_n16_o1", 16, n_outputs=1),
        one("resnet18_group_norm_n4_o10", 4, norm=group_norm),
    ]


def _sequences() -> list[Problem]:
    def one(name: str, family: str, network: Network, n1: int) -> Problem:
        return Problem(name=name, family=family, network=network, n1=n1)

    return [
        one("transformer_n8_o10", "transformer", transformer(), 8),
        one("transformer_deep_n4_o10", "transformer", transformer(n_blocks=4), 4),
        one("transformer_tokens_n8_o10", "transformer", token_transformer(), 8),
        one(
            "transformer_every_position_n2_o512",
            "transformer",
            transformer(length=16, n_outputs=32, every_position=True),
            2,
        ),
        one("rnn_unrolled_n16_o10", "recurrent", recurrent(), 16),
        one("rnn_scan_n16_o10", "recurrent", recurrent(scan=True), 16),
        one("rnn_12_steps_n32_o10", "recurrent", recurrent(n_steps=12), 32),
        one(
            "rnn_12_steps_n2_o100",
            "recurrent",
            recurrent(n_steps=12, n_outputs=100),
            2,
        ),
    ]


PROBLEMS: tuple[Problem, ...] = (
    *_perceptrons(),
    *_convolutional(),
    *_residual(),
    *_sequences(),
)
