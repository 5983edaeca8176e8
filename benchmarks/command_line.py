"""What the command lines of the benchmarks have in common, and their files."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


def add_limits(
    parser: argparse.ArgumentParser,
    *,
    rounds: int,
    budget_s: float,
    max_temp_gib: float,
    patience_s: float,
    contestant: str = "a candidate",
    awaited: str = "a compilation",
) -> None:
    """Adds the options that say what may be spent.

    Args:
        parser: The command line.
        rounds: Default rounds of timing.
        budget_s: Default seconds of timed calls.
        max_temp_gib: Default temporary memory, in GiB.
        patience_s: Default seconds to wait; whole ones where it is an integer.
        contestant: What the budget is for.
        awaited: What is waited for.
    """
    parser.add_argument("--rounds", type=int, default=rounds, help="rounds of timing")
    parser.add_argument(
        "--budget-s", type=float, default=budget_s, help=f"for {contestant}"
    )
    parser.add_argument("--max-temp-gib", type=float, default=max_temp_gib)
    parser.add_argument(
        "--patience-s", type=type(patience_s), default=patience_s, help=f"for {awaited}"
    )


def limits_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns what `add_limits` read, by the fields of the limits of a contest."""
    return {
        "rounds": arguments.rounds,
        "budget_s": arguments.budget_s,
        "temp_bytes": arguments.max_temp_gib * 2**30,
        "patience_s": arguments.patience_s,
    }


def add_file(parser: argparse.ArgumentParser, reported: str) -> None:
    """Adds the options that name the file of results and only read it.

    Args:
        parser: The command line.
        reported: What is made of the file, in words.
    """
    parser.add_argument("--report", action="store_true", help=f"only {reported}")
    parser.add_argument("--out", type=Path, help="the file of results")


def measured_or_read(
    parser: argparse.ArgumentParser,
    arguments: argparse.Namespace,
    out: Path,
    measure: Callable[[], Any],
) -> Any:
    """Measures, unless only a report was asked for, and returns what the file holds.

    Args:
        parser: The command line.
        arguments: What it was given, options of `add_file` among it.
        out: The file of results.
        measure: Measures and writes the file.
    """
    if not arguments.report:
        measure()
        print(f"wrote {out}\n")
    elif not out.exists():
        parser.error(f"{out} does not exist; run without --report first")
    return json.loads(out.read_text(encoding="utf-8"))


def add_selection(parser: argparse.ArgumentParser, names: Iterable[str]) -> None:
    """Adds the options that name the file of results and what is measured.

    Args:
        parser: The command line.
        names: All that can be measured.
    """
    parser.add_argument("--out", type=Path, help="the file of results")
    parser.add_argument("--only", nargs="*", choices=sorted(names))


def selected(
    given: argparse.Namespace, *, out: Path, all_of: Sequence[str]
) -> tuple[Path, Sequence[str]]:
    """Returns the file of results and what is measured.

    Args:
        given: What the command line was given, options of `add_selection` among it.
        out: The file where all is measured: a part never replaces the whole.
        all_of: What is measured where nothing is selected.
    """
    if not given.only:
        return given.out or out, all_of
    return given.out or out.with_stem(f"{out.stem}_partial"), given.only


def write(results: Any, out: Path) -> None:
    """Writes a file of results.

    Args:
        results: What it is to hold.
        out: The file; it is replaced, and its folder is made.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
