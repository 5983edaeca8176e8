"""The programs whose memory is measured: `benchmarks.accuracy`.

Each needs 250 MB or more beside its arguments, and none more than about 3 GB.
"""

from __future__ import annotations

import dataclasses

from benchmarks.problems.convolutional import convolutional, resnet18
from benchmarks.problems.mixtures import mixture_of_experts
from benchmarks.problems.network import Network
from benchmarks.problems.perceptrons import perceptron
from benchmarks.problems.physics import laplacian
from benchmarks.problems.sequences import recurrent, token_transformer, transformer
from benchmarks.problems.table import Problem
from benchmarks.problems.u_nets import u_net

JACOBIAN = "forced_jacobian_contraction"
STRUCTURED = "forced_structured_derivatives"
PRODUCTS = "forced_ntk_vector_products"
CHOSEN = "chosen"


@dataclasses.dataclass(frozen=True, kw_only=True)
class MemoryCase:
    """A program whose memory is measured.

    Attributes:
        problem: The configuration.
        candidate: The way to compute it, as `benchmarks.candidates` names it.
    """

    problem: Problem
    candidate: str

    @property
    def name(self) -> str:
        """Names the program."""
        return f"{self.problem.name}:{self.candidate}"


def _cases(
    name: str,
    family: str,
    network: Network,
    n1: int,
    *candidates: str,
    n2: int | None = None,
) -> list[MemoryCase]:
    problem = Problem(name=name, family=family, network=network, n1=n1, n2=n2)
    return [MemoryCase(problem=problem, candidate=each) for each in candidates]


MEMORY: tuple[MemoryCase, ...] = (
    *_cases("wide_n32_o10", "perceptron_wide", perceptron(), 32, JACOBIAN),
    *_cases(
        "wide_n128_n32_o2",
        "perceptron_wide",
        perceptron(width=1024, depth=1, n_outputs=2),
        128,
        JACOBIAN,
        n2=32,
    ),
    *_cases(
        "wide_n48_o256",
        "perceptron_wide",
        perceptron(n_in=64, width=128, n_outputs=256),
        48,
        CHOSEN,
        PRODUCTS,
    ),
    *_cases(
        "deep_n24_o50",
        "perceptron_deep",
        perceptron(n_in=128, width=256, depth=6, n_outputs=50),
        24,
        JACOBIAN,
    ),
    *_cases(
        "average_n32_o10",
        "convolutional_average",
        convolutional(side=32),
        32,
        CHOSEN,
    ),
    *_cases(
        "average_n96_o1",
        "convolutional_average",
        convolutional(n_outputs=1),
        96,
        STRUCTURED,
    ),
    *_cases(
        "flatten_n192_o1",
        "convolutional_flatten",
        convolutional(side=8, head="flatten", n_outputs=1),
        192,
        STRUCTURED,
    ),
    *_cases("resnet18_n24_o10", "residual", resnet18(), 24, CHOSEN, JACOBIAN),
    *_cases("transformer_n160_o10", "transformer", transformer(), 160, CHOSEN),
    *_cases(
        "tokens_vocabulary_n16_o5",
        "transformer_tokens",
        token_transformer(vocabulary=10_000, n_blocks=1, n_outputs=5),
        16,
        JACOBIAN,
    ),
    *_cases("tokens_n96_o10", "transformer_tokens", token_transformer(), 96, CHOSEN),
    *_cases(
        "scan_n256_o1", "recurrent", recurrent(n_outputs=1, scan=True), 256, STRUCTURED
    ),
    *_cases("unrolled_n160_o1", "recurrent", recurrent(n_outputs=1), 160, STRUCTURED),
    *_cases("experts_n96_o10", "mixture_of_experts", mixture_of_experts(), 96, CHOSEN),
    *_cases(
        "laplacian_n256_o1",
        "physics_informed",
        laplacian(n_in=3, width=256, depth=3),
        256,
        CHOSEN,
    ),
    *_cases("u_net_pixels_n2_o784", "u_net", u_net(side=28), 2, CHOSEN, STRUCTURED),
    *_cases(
        "u_net_pooled_n64_o10",
        "u_net",
        u_net(side=32, depth=4, n_outputs=10),
        64,
        CHOSEN,
    ),
)
