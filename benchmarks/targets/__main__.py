"""Compiles, compares, fits and writes what came of it."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from benchmarks.environment import environment, plugin_versions, today
from benchmarks.targets.compiled import estimates
from benchmarks.targets.compilers import missing
from benchmarks.targets.datasheets import DATASHEETS
from benchmarks.targets.devices import TARGETS, Target
from benchmarks.targets.fit import Learned, Sample, fit, scaled
from benchmarks.targets.programs import PRECISION, Contraction, contractions
from benchmarks.targets.regret import fitting, shape_row, summary
from benchmarks.targets.shapes import EVALUATED, FITTED, Shape, drawn
from ntkplan.cost.device import load_profile, shipped_folder
from ntkplan.cost.formulas import seconds
from ntkplan.cost.profile import DeviceProfile, Origin

_RESULTS = Path(__file__).resolve().parents[1] / "results"


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    # Compilers run in processes of their own; this one only traces.
    jax.config.update("jax_platforms", "cpu")
    for name in arguments.targets or TARGETS:
        target = TARGETS[name]
        reason = missing(target.compiler)
        if reason:
            print(f"{name}: {reason}", file=sys.stderr)
            return 2
        path = arguments.out / f"targets_{name}.json"
        before = json.loads(path.read_text("utf-8")) if path.exists() else {}
        known = _known(before) if arguments.reuse else {}
        if arguments.fit:
            fitted = _fit_profile(target, known)
            profiles = fitted.pop("profiles")
            for profile in profiles:
                profile.save(shipped_folder() / f"{profile.name}.toml")
        else:
            fitted = before.get("fit")
        result = evaluate(target, load_profile(name), EVALUATED, known)
        if fitted:
            result["fit"] = fitted
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        print(table(result))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.targets")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument(
        "--fit",
        action="store_true",
        help="first fit the device profiles to other layers, and write them",
    )
    parser.add_argument(
        "--reuse",
        action="store_true",
        help="take estimates of programs that did not change from the last results",
    )
    parser.add_argument("--out", type=Path, default=_RESULTS, help="folder of results")
    return parser


def evaluate(
    target: Target,
    profile: DeviceProfile,
    shapes: Sequence[Shape],
    known: Mapping[str, dict[str, Any]],
) -> dict[str, Any]:
    """Compiles all orders of some layers and returns what JSON can hold of it.

    Args:
        target: The device.
        profile: The profile that chooses.
        shapes: The layers.
        known: Estimates that are there already, by the programs' digests.
    """
    found = {shape.name: contractions(shape) for shape in shapes}
    said = _estimates(target, profile, found, known)
    rows = [shape_row(shape, found[shape.name], said, profile) for shape in shapes]
    return {
        "estimate": "compiler",
        "target": target.name,
        "estimated_as": target.estimate,
        "precision": PRECISION,
        "environment": environment(),
        "compiler_environment": dict(target.environment),
        "profile_origin": profile.provenance.origin,
        **summary(rows),
        "rows": rows,
    }


def _estimates(
    target: Target,
    profile: DeviceProfile,
    found: Mapping[str, Sequence[Contraction]],
    known: Mapping[str, dict[str, Any]],
) -> dict[str, dict[str, Any]]:
    """Compiles what fits, and tells how far it has got."""
    wanted = {
        item.digest: item for many in found.values() for item in fitting(many, profile)
    }

    def progress(done: int, count: int) -> None:
        print(f"\r{target.name}: {done}/{count} compiled", end="", file=sys.stderr)

    said = estimates(target, list(wanted.values()), known, progress)
    print(file=sys.stderr)
    return said


def _known(before: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns what a compiler said, in a file of results, by the programs' digests."""
    rows = [*before.get("rows", ()), *(before.get("fit") or {}).get("rows", ())]
    said = ("estimated_s", "kernels", "compile_s", "error")
    return {
        order["program"]: {name: order[name] for name in said if name in order}
        for row in rows
        for order in row["orders"]
        if not order.get("error", "").startswith("needs ")
    }


def _fit_profile(target: Target, known: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Fits a target's datasheet, and carries what is learned over to its sisters."""
    sheet = DATASHEETS[target.name].profile(today())
    chosen = [
        shape for shape in FITTED if shape.name in target.fitted or not target.fitted
    ]
    shapes = (*chosen, *drawn(target.n_drawn))
    likely = {
        shape.name: _likely(contractions(shape), sheet, target.likely)
        for shape in (*shapes, *EVALUATED)
    }
    said = _estimates(target, sheet, likely, known)
    samples = {
        name: [
            Sample(
                shape=name,
                work=item.work,
                estimated_s=said[item.digest]["estimated_s"],
            )
            for item in found
            if "estimated_s" in said.get(item.digest, ())
        ]
        for name, found in likely.items()
    }
    learned = fit(
        sheet,
        target.first,
        [item for shape in shapes for item in samples[shape.name]],
        [item for shape in EVALUATED for item in samples[shape.name]],
    )
    profile = _estimated(scaled(sheet, learned.factors), target, learned)
    sisters = [
        _carried(scaled(DATASHEETS[name].profile(today()), learned.factors), target)
        for name in target.sisters
    ]
    rows = [shape_row(shape, likely[shape.name], said, profile) for shape in shapes]
    return {
        **dataclasses.asdict(learned),
        **summary(rows),
        "rows": rows,
        "profiles": (profile, *sisters),
    }


def _likely(
    found: Sequence[Contraction], profile: DeviceProfile, times: float
) -> tuple[Contraction, ...]:
    """Returns the orders that fit and that may be worth a thought."""
    taken = {
        item: seconds(item.work, profile, dtype="float32", precision=PRECISION)
        for item in fitting(found, profile)
    }
    least = min(taken.values())
    return tuple(item for item, each in taken.items() if each <= times * least)


def _estimated(
    profile: DeviceProfile, target: Target, learned: Learned
) -> DeviceProfile:
    """Writes into a profile where its fitted figures come from."""
    notes = (
        f"{profile.provenance.notes} Fitted by `python -m benchmarks.targets --fit` "
        f"({PRECISION} precision) to the compiler's own estimates, which nobody "
        f"measured: {target.estimate}. Fitted were half-efficiency sizes, overheads, "
        "the rates at which memory is read and written, and the peak of batched "
        "products. Of layers left out of the fit the median error is "
        f"{learned.held_out_median_error_fraction:.0%}, the mean regret "
        f"{learned.held_out_mean_regret_fraction:.0%}."
    )
    origin = dataclasses.replace(
        profile.provenance,
        origin=Origin.COMPILER_ESTIMATE,
        sources=(*profile.provenance.sources, f"XLA's estimates for {target.name}"),
        jax_version=jax.__version__,
        jaxlib_version=environment()["versions"]["jaxlib"],
        plugin_versions=tuple(
            version
            for version in plugin_versions()
            if version.split("==")[0] in target.compiler.packages
        ),
        flags=target.environment.get("XLA_FLAGS", ""),
        notes=notes,
    )
    return dataclasses.replace(profile, provenance=origin)


def _carried(profile: DeviceProfile, target: Target) -> DeviceProfile:
    """Writes into a sister's profile what was carried over to it."""
    notes = (
        f"{profile.provenance.notes} Half-efficiency sizes, overheads, and which part "
        "of peaks and bandwidth is reached are assumed as XLA estimates them for "
        f"{target.name} (`python -m benchmarks.targets --fit`), scaled by the two "
        "datasheets."
    )
    return dataclasses.replace(
        profile, provenance=dataclasses.replace(profile.provenance, notes=notes)
    )


def table(result: Mapping[str, Any]) -> str:
    """Prints the regret of every layer, and the mean."""
    lines = [f"{result['target']}: regret by the compiler's own estimates"]
    for row in result["rows"]:
        estimated = [
            order["estimated_s"] for order in row["orders"] if "estimated_s" in order
        ]
        lines.append(
            f"  {row['shape']:<24} {row['regret_fraction']:>7.1%}   "
            f"chosen {row['chosen']:<18} best {row['best']:<18} "
            f"{min(estimated) * 1e6:>9.1f} us   {len(estimated)} orders"
        )
    lines.append(
        f"  {'mean':<24} {result['mean_regret_fraction']:>7.1%}   "
        f"worst {result['worst_regret_fraction']:.1%}"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
