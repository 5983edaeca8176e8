"""The configurations that both sides compute, in plain JAX that both sides' JAX runs.

This module and what it imports must not import ntkplan: the peer's process reads it
too, with a JAX that ntkplan does not run on.
"""

from __future__ import annotations

import dataclasses
import itertools

from benchmarks.problems.convolutional import convolutional, resnet18
from benchmarks.problems.language import language_model
from benchmarks.problems.network import Network
from benchmarks.problems.parametrized import PARAMETRIZED
from benchmarks.problems.perceptrons import perceptron
from benchmarks.problems.physics import laplacian
from benchmarks.problems.sequences import recurrent, token_transformer, transformer
from benchmarks.problems.table import Problem
from benchmarks.problems.vision import vision_transformer

KERNELS = ("full", "trace")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A kernel of a configuration.

    Attributes:
        problem: The model and its examples; as many in `x2` as in `x1`, or none.
        kernel: One of `KERNELS`.
    """

    problem: Problem
    kernel: str

    @property
    def name(self) -> str:
        """Names the case."""
        sides = "self" if self.problem.n2 is None else "cross"
        return f"{self.problem.name}:{self.kernel}:{sides}"


_NETWORKS: dict[str, tuple[str, Network, int]] = {
    "mlp_n32_o1": ("perceptron", perceptron(n_outputs=1), 32),
    "mlp_n32_o10": ("perceptron", perceptron(), 32),
    "mlp_n64_o10": ("perceptron", perceptron(), 64),
    "mlp_n16_o100": ("perceptron", perceptron(n_outputs=100), 16),
    "mlp_n1_o1000": ("perceptron", perceptron(n_outputs=1000), 1),
    "mlp_parametrized_n64_o10": ("perceptron", perceptron(layers=PARAMETRIZED), 64),
    "cnn_average_n8_o10": ("convolutional", convolutional(), 8),
    "cnn_average_n16_o10": ("convolutional", convolutional(), 16),
    "cnn_flatten_n8_o10": ("convolutional", convolutional(head="flatten"), 8),
    "cnn_flatten_n16_o10": ("convolutional", convolutional(head="flatten"), 16),
    "cnn_tiny_n64_o10": ("convolutional", convolutional(channels=8, side=8), 64),
    "cnn_parametrized_n8_o10": (
        "convolutional",
        convolutional(head="flatten", layers=PARAMETRIZED),
        8,
    ),
    "transformer_n8_o10": ("transformer", transformer(), 8),
    "vision_transformer_n8_o10": ("transformer", vision_transformer(), 8),
    "resnet18_w16_n4_o10": ("residual", resnet18(), 4),
    "resnet18_w16_n16_o1": ("residual", resnet18(n_outputs=1), 16),
    "resnet18_w64_n8_o10": ("residual", resnet18(width=64), 8),
    "rnn_unrolled_n16_o10": ("recurrent", recurrent(), 16),
    "rnn_scan_n16_o10": ("recurrent", recurrent(scan=True), 16),
    "tokens_n8_o10": ("tokens", token_transformer(), 8),
    "gpt2_4_blocks_n8_o3": (
        "tokens",
        language_model(
            vocabulary=10_000, context=128, length=64, width=256, n_heads=4, n_blocks=4
        ),
        8,
    ),
    "laplacian_n256_o1": ("physics_informed", laplacian(), 256),
}

CASES: tuple[Case, ...] = tuple(
    Case(
        problem=Problem(name=name, family=family, network=network, n1=n, n2=n2),
        kernel=kernel,
    )
    for name, (family, network, n) in _NETWORKS.items()
    for kernel, n2 in itertools.product(KERNELS, (None, n))
    # With one output the trace kernel is the full one.
    if kernel == "full" or not name.endswith("_o1")
)
