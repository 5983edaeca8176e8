"""The emitted source of models, compared with what was read and found good.

`pytest tests/golden --update-golden` writes the files anew; read what changed.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import ntkplan
from ntkplan.cost.device import read_profile
from tests.golden.models import GOLDEN, Golden
from tests.oracles import dense_jacobian, kernel_of_jacobians, relative_error
from tests.quick_compiler import quick_environment

HERE = Path(__file__).parent
KERNELS = HERE / "kernels"
_TOLERANCE = 2e-5


@functools.cache
def plan_of(name: str) -> Any:
    golden = GOLDEN[name]
    f, params, x1, x2 = golden.build()
    profile = read_profile(HERE / "device.toml")
    return ntkplan.plan(
        f, params, x1, x2, device=profile, **golden.options, **golden.kernel
    )


@pytest.mark.parametrize("name", GOLDEN)
def test_the_source_is_what_was_read(name, request):
    source, path = plan_of(name).source(), KERNELS / f"{name}.py"
    if request.config.getoption("--update-golden"):
        path.write_text(source, encoding="utf-8")
        (HERE / "jax_version.txt").write_text(f"{jax.__version__}\n", encoding="utf-8")
    if jax.__version__ != _written_with():
        pytest.skip("other versions of JAX trace models to other equations")
    assert source == path.read_text(encoding="utf-8")


def _written_with() -> str:
    """Returns the version of JAX with which the files were written."""
    return (HERE / "jax_version.txt").read_text(encoding="utf-8").strip()


def test_there_is_a_file_for_every_model_and_no_other():
    assert {path.stem for path in KERNELS.glob("*.py")} == set(GOLDEN)


_RUN = """
import importlib.util, json, pathlib, sys
sys.modules["ntkplan"] = None
import jax, numpy
folder, kernels = map(pathlib.Path, sys.argv[1:3])
for path in sorted(kernels.glob("*.py")):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    given = numpy.load(folder / f"{path.stem}.npz", allow_pickle=True)
    params = given["params"].item()
    results = [module.kernel(params, given["x1"], x2) for x2 in (given["x2"], None)]
    leaves = {f"{i}_{j}": leaf for i, result in enumerate(results)
              for j, leaf in enumerate(jax.tree.leaves(result))}
    numpy.savez(folder / f"{path.stem}_out.npz", **leaves)
device = jax.devices()[0]
about = {"platform": device.platform, "device": device.device_kind}
(folder / "device.json").write_text(json.dumps({**about, "jax": jax.__version__}))
"""


def computed(folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Computes the kernels of all files in a process that has no ntkplan.

    Args:
        folder: Where their results are left.
        environment: That of the process.

    Returns:
        What they were computed on.
    """
    for name, golden in GOLDEN.items():
        _, params, x1, x2 = golden.build()
        held = np.empty((), dtype=object)
        held[()] = params
        np.savez(folder / f"{name}.npz", params=held, x1=x1, x2=x2)
    command = [sys.executable, "-c", _RUN, str(folder), str(KERNELS)]
    subprocess.run(command, check=True, cwd=folder, env=environment)
    return json.loads((folder / "device.json").read_text(encoding="utf-8"))


def test_the_files_compute_the_dense_kernels(tmp_path):
    """All in one test: one process imports JAX for all of them."""
    device = computed(tmp_path, {"JAX_PLATFORMS": "cpu", **quick_environment()})
    assert device["platform"] == "cpu"
    for name in GOLDEN:
        assert worst_error(name, tmp_path) < _TOLERANCE, name


def worst_error(name: str, folder: Path) -> float:
    """Returns how far what `computed` left is from the dense kernels in float64.

    Args:
        name: Of the file.
        folder: Where the results are.
    """
    golden = GOLDEN[name]
    f, params, x1, _ = golden.build()
    found = np.load(folder / f"{name}_out.npz")
    options = {key: golden.kernel[key] for key in golden.kernel if key != "wrt"}
    errors = []
    for number in range(jax.tree.structure(jax.eval_shape(f, params, x1)).num_leaves):
        jacobian1, jacobian2 = dense_jacobians(golden, number)
        for side, other in enumerate((jacobian2, jacobian1)):
            wanted = kernel_of_jacobians(jacobian1, other, **options)
            errors.append(relative_error(found[f"{side}_{number}"], wanted))
    return float(max(errors))


def dense_jacobians(golden: Golden, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the Jacobians of one output at `x1` and `x2`: one, where they may be."""
    f, params, x1, x2 = golden.build()
    wrt = golden.kernel.get("wrt")

    def output(params: Any, x: Any) -> Any:
        return jax.tree.leaves(f(params, x))[number]

    if golden.options.get("batch_axis", 0) is None:
        first, second = (dense_jacobian(output, params, x, wrt) for x in (x1, x2))
        return first, second
    jacobian = dense_jacobian(output, params, np.concatenate([x1, x2]), wrt)
    return jacobian[: len(x1)], jacobian[len(x1) :]


@pytest.mark.slow
@pytest.mark.parametrize("name", GOLDEN)
def test_the_file_checks_itself(name, tmp_path):
    done = subprocess.run(
        [sys.executable, str(KERNELS / f"{name}.py")],
        cwd=tmp_path,
        env={"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "largest relative error" in done.stdout
