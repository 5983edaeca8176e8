"""The benchmark of biases: what it compares, and what it says."""

from __future__ import annotations

import pytest

import ntkplan
from benchmarks import biases, ways
from benchmarks.peer.configurations import CASES

(_CASE,) = (case for case in CASES if case.name == "cnn_tiny_n64_o10:full:self")


def _row(name, compile_s, median_s, temp_bytes):
    ways = {
        way: {
            "compile_s": [2.0, compile_s if way == "together" else 1.0],
            "median_s": median_s if way == "together" else 1.0,
            "memory": {"temp_bytes": temp_bytes if way == "together" else 1},
        }
        for way in biases.WAYS
    }
    return {"name": name, "ways": ways}


def test_all_biases_are_apart_where_they_have_other_methods():
    inputs = _CASE.problem.build()
    together = ntkplan.plan(inputs.f, *inputs.arguments)
    methods = biases.apart(together)
    assert len(methods) == 3
    assert all(path.endswith("bias") for path in methods)
    plan = ntkplan.plan(inputs.f, *inputs.arguments, methods=methods)
    with pytest.raises(ValueError, match="no bias is computed with its weight"):
        biases.apart(plan)
    kept = {layer.path: layer.order for layer in plan.layers}
    for layer in together.layers:
        assert layer.path in methods or kept[layer.path] == layer.order


def test_the_report_has_ratios_and_their_means():
    rows = [_row("one", 0.5, 0.8, 4), _row("other", 2.0, 0.2, 1)]
    *_, last = biases.report(rows)
    assert last.split() == [
        "geometric",
        "mean",
        "compiled",
        "in",
        "1.00,",
        "runs",
        "0.40,",
        "holds",
        "2.00",
    ]


def test_only_what_is_asked_for_is_measured(tmp_path, capsys, monkeypatch):
    row = _row(_CASE.name, 0.5, 0.5, 0.5)
    monkeypatch.setattr(biases, "measured", lambda case: row | {"name": case.name})
    monkeypatch.setattr(ways, "environment", dict)
    out = tmp_path / "biases.json"
    biases.main(["--only", _CASE.name, "--out", str(out)])
    assert _CASE.name in out.read_text()
    assert _CASE.name in capsys.readouterr().out
