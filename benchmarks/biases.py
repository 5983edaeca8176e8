"""What it is worth to compute biases of convolutions with their weights.

Run `python -m benchmarks.biases`. Every kernel is compiled as it is planned, and with
the biases apart: they have then another method than their weights, which is the same
work by another name (see `ntkplan.planner.biases`). Both are timed in one process,
interleaved.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import ntkplan
from benchmarks.peer.configurations import Case
from benchmarks.regret_statistics import geometric_mean
from benchmarks.ways import Row, compared, run
from ntkplan.compiling import options_of

WAYS = ("apart", "together")
RUN = tuple(
    f"{model}:{kernel}:{sides}"
    for model in ("cnn_average_n8_o10", "cnn_flatten_n8_o10", "cnn_tiny_n64_o10")
    for kernel in ("full", "trace")
    for sides in ("self", "cross")
)
_OTHER = {
    "jacobian_contraction": "structured_derivatives",
    "structured_derivatives": "jacobian_contraction",
}


def apart(plan: ntkplan.Plan) -> dict[str, str]:
    """Returns methods with which no bias is computed with its weight.

    Args:
        plan: A plan in which some are.

    Raises:
        ValueError: None is.
    """
    methods = {
        layer.path: _OTHER[layer.method]
        for layer in plan.layers
        if "as a weight of ones" in layer.why
    }
    if not methods:
        raise ValueError(f"{plan.headline}: no bias is computed with its weight")
    return methods


def measured(case: Case) -> dict[str, Any]:
    """Compiles and times one kernel in both ways.

    Args:
        case: The model, its examples and the kind of kernel.
    """
    inputs = case.problem.build()
    together = ntkplan.plan(inputs.f, *inputs.arguments, kernel=case.kernel)
    assert isinstance(together, ntkplan.Plan)
    methods = apart(together)
    plan = ntkplan.plan(
        inputs.f, *inputs.arguments, kernel=case.kernel, methods=methods
    )
    plans = dict(zip(WAYS, (plan, together), strict=True))
    return {
        "name": case.name,
        "biases": sorted(methods),
        "ways": compared(
            {name: each.compile().function for name, each in plans.items()},
            {name: options_of(each.cost) for name, each in plans.items()},
            inputs.arguments,
        ),
    }


def report(rows: Iterable[Row]) -> list[str]:
    """Returns a line for every kernel, and the geometric means."""
    names = ("compiled in", "runs", "holds")
    lines: list[str] = []
    ratios: list[list[float]] = []
    for row in rows:
        before, after = (row["ways"][name] for name in WAYS)
        ratios.append(
            [
                min(after["compile_s"]) / min(before["compile_s"]),
                after["median_s"] / before["median_s"],
                after["memory"]["temp_bytes"] / before["memory"]["temp_bytes"],
            ]
        )
        lines.append(f"{row['name']:32s} {_ratios(names, ratios[-1])}")
    means = [geometric_mean(each) for each in zip(*ratios, strict=True)]
    return [*lines, f"{'geometric mean':32s} {_ratios(names, means)}"]


def _ratios(names: Sequence[str], ratios: Sequence[float]) -> str:
    pairs = zip(names, ratios, strict=True)
    return ", ".join(f"{name} {ratio:.2f}" for name, ratio in pairs)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark.

    Args:
        arguments: The command line, or None for that of the process.
    """
    run(
        arguments,
        description=__doc__,
        name="biases_cpu",
        all_of=RUN,
        measured=measured,
        report=report,
    )


if __name__ == "__main__":
    main()
