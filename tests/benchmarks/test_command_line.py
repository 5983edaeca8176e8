"""What the command lines of the benchmarks have in common."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from benchmarks.command_line import add_selection, selected


@pytest.mark.parametrize(
    ("given", "file", "names"),
    [
        ([], "all_cpu.json", ["a", "b"]),
        (["--only", "b"], "all_cpu_partial.json", ["b"]),
        (["--only", "b", "--out", "mine.json"], "mine.json", ["b"]),
        (["--out", "mine.json"], "mine.json", ["a", "b"]),
    ],
)
def test_a_part_never_replaces_the_whole(given, file, names):
    parser = argparse.ArgumentParser()
    add_selection(parser, ["b", "a", "c"])
    arguments = parser.parse_args(given)
    found = selected(arguments, out=Path("all_cpu.json"), all_of=["a", "b"])
    assert found == (Path(file), names)
