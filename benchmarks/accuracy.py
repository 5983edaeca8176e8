"""Compares what plans predict with what is measured: time, memory, and planning itself.

Run `python -m benchmarks.accuracy`, after `python -m benchmarks.regret`, whose times it
reads; `docs/benchmarks.md` says what it writes.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import accuracy_report
from benchmarks.accuracy_statistics import Point, memory_points, time_points
from benchmarks.environment import environment
from benchmarks.plan_times import LARGE
from benchmarks.problems.memory_table import MEMORY, MemoryCase

RESULTS = Path(__file__).resolve().parent / "results"
ROOT = Path(__file__).resolve().parent.parent
PARTS = ("time", "memory", "planning")
_TIMEOUT_S = 600
_NOTHING: dict[str, Any] = {
    "time": {"points": []},
    "memory": {"programs": []},
    "planning": {"models": []},
}


def in_process(module: str, name: str) -> dict[str, Any]:
    """Runs a module in a fresh process and returns the JSON that it prints.

    Args:
        module: The module.
        name: Its argument.

    Returns:
        What it printed, with the seconds of the whole process; or why it failed.
    """
    started_s = time.perf_counter()
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, name],
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"took longer than {_TIMEOUT_S} s"}
    if done.returncode:
        # The message of an exception is at the end, after all calls.
        lines = done.stderr.strip().splitlines()[-4:]
        return {"error": f"exit status {done.returncode}: {' / '.join(lines)}"[:800]}
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row | {"process_s": time.perf_counter() - started_s}


def measure_time(regret: Path) -> dict[str, Any]:
    """Reads estimated and measured times.

    Args:
        regret: The file of `benchmarks.regret`.

    Returns:
        The points, and which run they are from.
    """
    results = json.loads(regret.read_text(encoding="utf-8"))
    return {
        "file": regret.name,
        "measured_at": results["environment"]["git_commit"],
        "points": [dataclasses.asdict(point) for point in time_points(results)],
    }


def measure_memory(cases: Sequence[MemoryCase]) -> list[dict[str, Any]]:
    """Runs every program in a process of its own.

    Args:
        cases: The programs.

    Returns:
        What was measured, or why not.
    """
    rows: list[dict[str, Any]] = []
    for case in cases:
        known = {
            "name": case.problem.name,
            "family": case.problem.family,
            "candidate": case.candidate,
        }
        rows.append(known | in_process("benchmarks.resident", case.name))
        print(f"memory of {case.name}: {_outcome(rows[-1])}", flush=True)
    return rows


def measure_planning(names: Sequence[str]) -> list[dict[str, Any]]:
    """Plans every large model in a process of its own.

    Args:
        names: Of `plan_times.LARGE`.

    Returns:
        What was measured, or why not.
    """
    rows: list[dict[str, Any]] = []
    for name in names:
        rows.append({"name": name} | in_process("benchmarks.plan_times", name))
        print(f"planning of {name}: {_outcome(rows[-1])}", flush=True)
    return rows


def _outcome(row: dict[str, Any]) -> str:
    if "error" in row:
        return row["error"]
    if "plan_s" in row:
        return f"{row['plan_s']:.2f} s"
    predicted, measured = row["predicted_bytes"], row["measured_bytes"]
    return f"{predicted / 1e6:.0f} MB predicted, {measured / 1e6:.0f} MB measured"


def run(
    parts: Sequence[str], regret: Path, out: Path, *, only: str, command: str
) -> dict[str, Any]:
    """Measures, and writes the results after every part.

    Args:
        parts: Some of `PARTS`; others keep what the file has of them.
        regret: The file of `benchmarks.regret`.
        out: The file to write.
        only: Programs and models whose name has this.
        command: How this was called, for the file.

    Returns:
        What the file holds.
    """
    results = json.loads(out.read_text(encoding="utf-8")) if out.exists() else _NOTHING
    facts = environment()
    results = {**results, "environment": facts, "command": command}
    out.parent.mkdir(parents=True, exist_ok=True)
    for part in parts:
        if part == "time":
            found = measure_time(regret)
        elif part == "memory":
            cases = [case for case in MEMORY if only in case.name]
            found = {"programs": measure_memory(cases)}
        else:
            names = [name for name in LARGE if only in name]
            found = {"models": measure_planning(names)}
        results[part] = found | {
            "git_commit": facts["git_commit"],
            "date": facts["date"],
        }
        out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return results


def plot(results: dict[str, Any], out: Path) -> None:
    """Draws the results.

    Args:
        results: What the file holds.
        out: The SVG file to write.
    """
    # Only this needs matplotlib, which is not installed with ntkplan.
    from benchmarks.accuracy_plot import draw

    times = [Point(**point) for point in results["time"]["points"]]
    draw(times, memory_points(results["memory"]["programs"]), out)


def main() -> None:
    """Reads the command line; measures and writes, or reads and reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--only", default="", help="programs whose name has this")
    parser.add_argument("--regret", type=Path, default=RESULTS / "regret_cpu.json")
    parser.add_argument("--report", action="store_true", help="only read the results")
    parser.add_argument("--no-plot", action="store_true")
    parser.add_argument("--out", type=Path, help="the file of results")
    arguments = parser.parse_args()
    partial = "_partial" if arguments.only else ""
    out = arguments.out or RESULTS / f"accuracy_cpu{partial}.json"
    if not arguments.no_plot and importlib.util.find_spec("matplotlib") is None:
        parser.error('no matplotlib: pip install -e ".[benchmarks]", or use --no-plot')
    if arguments.report:
        if not out.exists():
            parser.error(f"{out} does not exist; run without --report first")
        results = json.loads(out.read_text(encoding="utf-8"))
    else:
        if "time" in arguments.parts and not arguments.regret.exists():
            parser.error(f"{arguments.regret} does not exist; run benchmarks.regret")
        command = shlex.join(["python", "-m", "benchmarks.accuracy", *sys.argv[1:]])
        results = run(
            arguments.parts,
            arguments.regret,
            out,
            only=arguments.only,
            command=command,
        )
        print(f"wrote {out}\n")
    print(accuracy_report.report(results))
    if not arguments.no_plot:
        drawing = out.with_suffix(".svg")
        plot(results, drawing)
        print(f"wrote {drawing}")


if __name__ == "__main__":
    main()
