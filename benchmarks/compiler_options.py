"""What the options are worth with which kernels are compiled on a CPU.

Run `python -m benchmarks.compiler_options`. Every kernel is compiled with the fusion
that gives right results, with that and the options by which its plan is done sooner,
and with both and the schedule that holds least; see `ntkplan.compiling`. All are timed
in one process, interleaved.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import ntkplan
from benchmarks.peer.configurations import Case
from benchmarks.regret_statistics import geometric_mean
from benchmarks.ways import Row, compared, run
from ntkplan.compiling import compiler_options, options_of
from ntkplan.ir.plan import PlanCost

RUN = (
    "mlp_n32_o10:full:cross",
    "cnn_average_n8_o10:full:self",
    "cnn_average_n16_o10:full:cross",
    "cnn_flatten_n16_o10:full:cross",
    "cnn_tiny_n64_o10:trace:cross",
    "transformer_n8_o10:full:self",
    "tokens_n8_o10:full:cross",
    "resnet18_w16_n4_o10:full:self",
    "resnet18_w16_n16_o1:full:cross",
    "rnn_unrolled_n16_o10:full:cross",
    "laplacian_n256_o1:full:cross",
)
WAYS = ("sound", "soon", "sparing")


def options_by_way(cost: PlanCost) -> dict[str, dict[str, Any]]:
    """Returns the options of every way to compile a kernel.

    Args:
        cost: What its plan estimates. Long calls are compiled soon here, too, and all
            have their temporaries in one block.
    """
    soon = dataclasses.replace(cost, seconds=0.0, in_turn=False, largest_bytes=None)
    sparing = dataclasses.replace(soon, in_turn=True)
    options = (compiler_options(optimised=True), options_of(soon), options_of(sparing))
    return dict(zip(WAYS, options, strict=True))


def measured(case: Case) -> dict[str, Any]:
    """Compiles and times one kernel in every way.

    Args:
        case: The model, its examples and the kind of kernel.
    """
    inputs = case.problem.build()
    kernel = ntkplan.plan(inputs.f, *inputs.arguments, kernel=case.kernel).compile()
    options = options_by_way(kernel.plan.cost)
    functions: dict[str, Any] = dict.fromkeys(WAYS, kernel.function)
    return {
        "name": case.name,
        "takes_turns": kernel.plan.cost.in_turn,
        "ways": compared(functions, options, inputs.arguments),
    }


def report(rows: Iterable[Row]) -> list[str]:
    """Returns a line for every kernel, each way beside the one before it."""
    lines = []
    compiling = []
    for row in rows:
        sound, soon, sparing = (row["ways"][name] for name in WAYS)
        compiling.append(min(soon["compile_s"]) / min(sound["compile_s"]))
        lines.append(
            f"{row['name']:32s} soon: compiled in {compiling[-1]:.2f} of the time, "
            f"runs {soon['median_s'] / sound['median_s']:.2f}; "
            f"sparing: runs {sparing['median_s'] / soon['median_s']:.2f}, holds "
            f"{sparing['memory']['temp_bytes'] / soon['memory']['temp_bytes']:.2f}"
            f"{', used' if row['takes_turns'] else ''}"
        )
    mean = geometric_mean(compiling)
    return [*lines, f"soon: compiled in {mean:.2f} of the time (geometric mean)"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark.

    Args:
        arguments: The command line, or None for that of the process.
    """
    run(
        arguments,
        description=__doc__,
        name="compiler_options_cpu",
        all_of=RUN,
        measured=measured,
        report=report,
    )


if __name__ == "__main__":
    main()
