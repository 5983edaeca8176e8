"""The same input gives the same plan and the same source, byte for byte."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

from tests.end_to_end.printed import printed

ROOT = pathlib.Path(__file__).parents[2]
NAMES = (
    "plain_mlp",
    "plain_mlp_of_dictionary",
    "plain_tied_repeated",
    "plain_cnn_depthwise_dilated",
    "plain_transformer_encoder",
    "plain_rnn_unrolled",
    "plain_rnn_scanned",
    "plain_branching",
)


@pytest.mark.parametrize("name", NAMES)
def test_planning_twice_gives_the_same_text(name):
    assert printed(name) == printed(name)


def test_another_process_gives_the_same_text():
    """Orders of sets and addresses of objects differ between the processes."""
    names = (*NAMES, "plain_resnet18_frozen")
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    assert printed_elsewhere(names, seed) == "".join(map(printed, names))


def printed_elsewhere(names: tuple[str, ...], hash_seed: str) -> str:
    """Returns what a fresh interpreter prints for all models."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONHASHSEED": hash_seed,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
    result = subprocess.run(
        [sys.executable, "-m", "tests.end_to_end.printed", *names],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout
