"""Times ntkplan beside neural-tangents: the whole comparison, or its report.

Run `python -m benchmarks.peer`; `docs/performance.md` says what it writes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.command_line import (
    RESULTS,
    add_file,
    add_limits,
    limits_of,
    measured_or_read,
    write,
)
from benchmarks.peer import markdown
from benchmarks.peer.configurations import CASES, Case
from benchmarks.peer.contest import AUTO, NAMES, OURS, Limits, Row, measure
from benchmarks.peer.installation import peer_python
from benchmarks.peer.report import line, report
from benchmarks.peer.side import Side

_ASK_S = 120.0


def run(
    cases: Sequence[Case],
    limits: Limits,
    out: Path,
    peer: Path,
    *,
    auto: str,
    resume: bool,
) -> None:
    """Measures cases, and writes the results after each of them.

    Args:
        cases: What to compute.
        limits: What may be spent on each.
        out: The file to write.
        peer: The peer's interpreter.
        auto: In the names of which cases the peer's automatic choice is compiled and
            called once.
        resume: Whether rows that the file has already are kept.
    """
    sides = {
        name: Side(
            "ntkplan" if name == OURS else "incumbent",
            Path(sys.executable) if name == OURS else peer,
        )
        for name in NAMES
    }
    results = _begun(sides, limits, out, resume=resume)
    known = {_key(row) for row in results["cases"]}
    try:
        for case in cases:
            if (case.problem.name, case.kernel, case.problem.n2) in known:
                continue
            entered = dict(sides)
            if auto not in case.name:
                del entered[AUTO]
            row = measure(case, entered, limits)
            row["git_commit"] = results["environment"]["git_commit"]
            results["cases"].append(row)
            write(results, out)
            print(f"{line(row, results['peaks'])}   {row['took_s']:.0f} s", flush=True)
    finally:
        for side in sides.values():
            side.stop()


def _begun(
    sides: dict[str, Side], limits: Limits, out: Path, *, resume: bool
) -> dict[str, Any]:
    """Asks both sides what they are and the machine what it can do."""
    other = next(name for name in sides if name != OURS)
    begun = {
        "environment": sides[OURS].ask("versions", patience_s=_ASK_S),
        "peer_versions": sides[other].ask("versions", patience_s=_ASK_S),
        "peaks": sides[OURS].ask("peaks", patience_s=_ASK_S),
        "limits": dataclasses.asdict(limits),
        "command": _command(sys.argv[1:]),
        "cases": [],
    }
    if resume and out.exists():
        before = json.loads(out.read_text(encoding="utf-8"))
        begun["cases"] = before["cases"]
        # The machine is as quick as it was when it was quickest.
        begun["peaks"] = {
            name: max(rate, before["peaks"][name])
            for name, rate in begun["peaks"].items()
        }
    return begun


def _command(arguments: Sequence[str]) -> str:
    """Returns how this was called, without where on this machine the peer is."""
    shown = list(arguments)
    if "--peer" in shown:
        place = shown.index("--peer")
        del shown[place : place + 2]
    return " ".join(["python -m benchmarks.peer", *shown])


def _key(row: Row) -> tuple[str, str, int | None]:
    return row["name"], row["kernel"], row["n2"]


def main() -> None:
    """Reads the command line; measures and writes, or reads and reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="names that have one of these, a,b")
    add_limits(
        parser,
        rounds=5,
        budget_s=6.0,
        max_temp_gib=9.0,
        patience_s=120.0,
        contestant="a side",
        awaited="a kernel",
    )
    parser.add_argument("--auto", default="", help="only in names that have this")
    parser.add_argument("--resume", action="store_true", help="keep what the file has")
    parser.add_argument("--peer", type=Path, help="folder of the peer's environment")
    parser.add_argument("--docs", action="store_true", help="write tables into docs")
    add_file(parser, "print and draw")
    arguments = parser.parse_args()
    parts = arguments.only.split(",")
    cases = [case for case in CASES if any(part in case.name for part in parts)]
    if not cases:
        names = ", ".join(case.name for case in CASES)
        parser.error(f"no case has {arguments.only!r} in its name: {names}")
    partial = "_partial" if arguments.only else ""
    out = arguments.out or RESULTS / f"peer_cpu{partial}.json"
    limits = Limits(**limits_of(arguments), slow_factor=4.0)
    results = measured_or_read(
        parser,
        arguments,
        out,
        lambda: run(
            cases,
            limits,
            out,
            peer_python(arguments.peer),
            auto=arguments.auto,
            resume=arguments.resume,
        ),
    )
    print(report(results))
    if arguments.docs:
        markdown.write(results, out.stem)
    try:
        from benchmarks.peer.plot import draw
    except ImportError as error:
        print(f"nothing drawn: {error}; pip install -e '.[benchmarks]'")
        return
    draw(results, out.with_suffix(".svg"))


if __name__ == "__main__":
    main()
