"""The same files on an accelerator, compared with float64 on a CPU.

`pytest -n 0 -m device tests/golden --device-results FILE` writes what came out. The
files run as their users run them, with JAX's own options.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from benchmarks.environment import environment
from tests.golden.models import GOLDEN
from tests.golden.test_golden import computed, worst_error

_TOLERANCE = 1e-4
_OF_TESTS = ("JAX_PLATFORMS", "XLA_FLAGS")


@pytest.mark.device
def test_the_files_compute_the_dense_kernels_on_a_device(tmp_path, request):
    own = {name: os.environ[name] for name in os.environ if name not in _OF_TESTS}
    device = computed(tmp_path, own)
    if device["platform"] == "cpu":
        pytest.skip("JAX finds no accelerator")
    errors = {name: worst_error(name, tmp_path) for name in GOLDEN}
    record(request.config.getoption("--device-results"), device, errors)
    assert {n: error for n, error in errors.items() if not error < _TOLERANCE} == {}


def record(path: str | None, device: dict[str, str], errors: dict[str, float]) -> None:
    """Writes how far the files were off, and on what."""
    if path is None:
        return
    results = {
        "environment": environment(),
        "device": device,
        "tolerance": _TOLERANCE,
        "relative_errors": errors,
    }
    Path(path).write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def test_what_a_device_computed_is_recorded_by_its_name(tmp_path):
    path = tmp_path / "results.json"
    record(str(path), {"platform": "gpu", "device": "some GPU"}, {"attention": 1e-6})
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["device"]["device"] == "some GPU"
    assert found["relative_errors"] == {"attention": 1e-6}
    assert found["environment"]
