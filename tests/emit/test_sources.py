"""Whole modules, of models of every kind, please the linter and the formatter."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import ntkplan
from tests.cases import CASES, problem
from tests.emit.formatter import ruff

QUICK = (
    "plain_mlp",
    "plain_cnn_average_pool",
    "plain_cnn_max_pool",
    "plain_transformer_of_tokens",
    "plain_rnn_scanned",
    "plain_tied_repeated",
    "plain_embedding",
    "plain_rematerialised",
    "plain_custom_vjp",
    "plain_branching",
    "plain_cumulative",
    "plain_solved",
    "linen_transformer",
    "equinox_resnet",
    "equinox_transformer",
    "haiku_cnn",
)


def _please_ruff(folder: Path) -> None:
    for command in (["check", "--no-cache"], ["format", "--diff"]):
        done = subprocess.run(
            [ruff(), *command, "--isolated", str(folder)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(QUICK, id="quick"),
        pytest.param(
            [case.name for case in CASES if case.name not in QUICK],
            id="all_others",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_modules_are_as_the_formatter_leaves_them(names, tmp_path: Path):
    known = {case.name for case in CASES}
    written = [name for name in names if name in known]
    for name in written:
        function, params, x1, x2 = problem(name)
        plan = ntkplan.plan(function, params, x1, x2, device="cpu")
        source = plan.source()
        assert max(map(len, source.splitlines())) <= 88, name
        (tmp_path / f"{name}.py").write_text(source)
    assert len(written) >= 10
    _please_ruff(tmp_path)
