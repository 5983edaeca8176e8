"""The benchmark of blocks of memory: what it compares, and what it says."""

from __future__ import annotations

import pytest

from benchmarks import memory_blocks
from benchmarks.peer.configurations import CASES
from ntkplan.compiling import kept_blocks

_CASES = {case.name: case for case in CASES}


def _way(median_s, faults, temp_bytes):
    return {
        "median_s": median_s,
        "page_faults_of_a_call": faults,
        "memory": {"temp_bytes": temp_bytes},
    }


def test_ways_differ_in_blocks_alone(monkeypatch):
    if not kept_blocks():
        pytest.skip("this compiler has all temporaries in one block")
    monkeypatch.setattr(memory_blocks, "_MOST_CALLS", 2)
    case = _CASES["mlp_n1_o1000:full:cross"]
    one, blocks = (memory_blocks.measured(case, way) for way in memory_blocks.WAYS)
    assert blocks["options"] == one["options"] | kept_blocks()
    assert one["options"].keys().isdisjoint(kept_blocks())
    assert len(one["samples_s"]) == 2
    assert one["memory"]["temp_bytes"] > 0


def test_kernels_of_one_block_are_refused():
    with pytest.raises(ValueError, match="all temporaries in one block"):
        memory_blocks.measured(_CASES["mlp_n32_o1:full:self"], "one")


def test_the_report_has_ratios_and_their_mean():
    ways = {"one": _way(2.0, [8, 10], 4e6), "blocks": _way(1.0, [0, 2], 5e6)}
    other = {"one": _way(1.0, [0], 1e6), "blocks": _way(2.0, [0], 1e6)}
    first, _, last = memory_blocks.report(
        [{"name": "some", "ways": ways}, {"name": "other", "ways": other}]
    )
    assert "runs 0.50" in first
    assert "9 -> 1" in first
    assert "4.0 -> 5.0 MB" in first
    assert last == "runs 1.00 (geometric mean)"
