"""The configurations on which the planner's choice is judged: `benchmarks.regret`.

Four or more of each family. Examples go from 1 to 256, outputs from 1 to 1,000, and
some have other examples in `x2`. A kernel takes from a fraction of a millisecond to
some hundreds with the best method.
"""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.problems.convolutional import convolutional, pooled, resnet18
from benchmarks.problems.layers import group_norm
from benchmarks.problems.mixtures import mixture_of_experts
from benchmarks.problems.network import Network
from benchmarks.problems.perceptrons import perceptron
from benchmarks.problems.physics import laplacian
from benchmarks.problems.sequences import recurrent, token_transformer, transformer
from benchmarks.problems.table import Problem
from benchmarks.problems.u_nets import u_net

Sizes = tuple[int, ...]
"""Numbers of examples, `(n1,)` or `(n1, n2)`."""

_FAMILIES: Mapping[str, Mapping[str, tuple[Network, Sizes]]] = {
    "perceptron_wide": {
        "wide_n32_o10": (perceptron(), (32,)),
        "wide_n256_o1": (perceptron(n_outputs=1), (256,)),
        "wide_n1_o1000": (perceptron(width=256, n_outputs=1000), (1,)),
        "wide_n128_n32_o2": (perceptron(width=1024, depth=1, n_outputs=2), (128, 32)),
        "wide_n16_o100": (perceptron(width=256, n_outputs=100), (16,)),
    },
    "perceptron_deep": {
        "deep_n64_o10": (perceptron(n_in=64, width=64, depth=10), (64,)),
        "deep_n256_o1": (
            perceptron(n_in=32, width=128, depth=8, n_outputs=1),
            (256,),
        ),
        "deep_n1_o1000": (
            perceptron(n_in=32, width=32, depth=12, n_outputs=1000),
            (1,),
        ),
        "deep_n16_n8_o50": (
            perceptron(n_in=128, width=256, depth=6, n_outputs=50),
            (16, 8),
        ),
    },
    "convolutional_average": {
        "average_n8_o10": (convolutional(), (8,)),
        "average_n64_o1": (convolutional(n_outputs=1), (64,)),
        "average_n2_o100": (convolutional(n_outputs=100), (2,)),
        "average_n16_n4_o10": (convolutional(channels=64, side=8), (16, 4)),
    },
    "convolutional_flatten": {
        "flatten_n16_o10": (convolutional(head="flatten"), (16,)),
        "flatten_n128_o1": (convolutional(side=8, head="flatten", n_outputs=1), (128,)),
        "flatten_n1_o1000": (
            convolutional(channels=8, side=8, head="flatten", n_outputs=1000),
            (1,),
        ),
        "flatten_pooled_n64_n16_o10": (pooled(), (64, 16)),
    },
    "residual": {
        "resnet18_n4_o10": (resnet18(), (4,)),
        "resnet18_n16_o1": (resnet18(n_outputs=1), (16,)),
        "resnet18_n1_o100": (resnet18(width=8, n_outputs=100), (1,)),
        "resnet18_group_norm_n8_n2_o2": (
            resnet18(norm=group_norm, n_outputs=2),
            (8, 2),
        ),
    },
    "transformer": {
        "transformer_n8_o10": (transformer(), (8,)),
        "transformer_n64_o1": (transformer(length=16, n_outputs=1), (64,)),
        "transformer_deep_n4_n2_o10": (transformer(n_blocks=4), (4, 2)),
        "transformer_every_position_n1_o512": (
            transformer(length=16, n_outputs=32, every_position=True),
            (1,),
        ),
    },
    "transformer_tokens": {
        "tokens_n8_o10": (token_transformer(), (8,)),
        "tokens_n32_o1": (token_transformer(n_outputs=1), (32,)),
        "tokens_long_n16_o2": (token_transformer(length=64, n_outputs=2), (16,)),
        "tokens_n2_o100": (token_transformer(n_blocks=1, n_outputs=100), (2,)),
        "tokens_vocabulary_n16_n4_o5": (
            token_transformer(vocabulary=10_000, length=32, n_outputs=5),
            (16, 4),
        ),
    },
    "recurrent": {
        "unrolled_n16_o10": (recurrent(), (16,)),
        "unrolled_n2_o100": (recurrent(n_steps=12, n_outputs=100), (2,)),
        "scan_n32_o10": (recurrent(n_steps=48, scan=True), (32,)),
        "scan_n256_o1": (recurrent(n_outputs=1, scan=True), (256,)),
    },
    "mixture_of_experts": {
        "experts_n8_o10": (mixture_of_experts(), (8,)),
        "experts_n64_o1": (mixture_of_experts(n_outputs=1), (64,)),
        "experts_one_position_n16_n8_o20": (
            mixture_of_experts(length=1, n_outputs=20),
            (16, 8),
        ),
        "experts_two_active_n4_o50": (
            mixture_of_experts(n_active=2, n_outputs=50),
            (4,),
        ),
    },
    "physics_informed": {
        "laplacian_n256_o1": (laplacian(), (256,)),
        "laplacian_n128_n64_o1": (laplacian(depth=4), (128, 64)),
        "laplacian_n32_o1": (laplacian(n_in=3, width=256), (32,)),
        "laplacian_n1_o1": (laplacian(width=512, depth=3), (1,)),
    },
    "u_net": {
        "u_net_pixels_n1_o784": (u_net(side=28), (1,)),
        "u_net_pixels_n2_o64": (u_net(side=8, channels=16, depth=3), (2,)),
        "u_net_pooled_n8_o10": (u_net(side=32, depth=4, n_outputs=10), (8,)),
        "u_net_pooled_n32_n8_o1": (u_net(channels=16, depth=3, n_outputs=1), (32, 8)),
    },
}


def _problem(family: str, name: str, network: Network, sizes: Sizes) -> Problem:
    n1, n2 = sizes[0], sizes[1] if len(sizes) > 1 else None
    return Problem(name=name, family=family, network=network, n1=n1, n2=n2)


REGRET: tuple[Problem, ...] = tuple(
    _problem(family, name, network, sizes)
    for family, problems in _FAMILIES.items()
    for name, (network, sizes) in problems.items()
)
