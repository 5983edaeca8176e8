"""The wheel in a fresh environment, and a saved kernel where there is only JAX."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import pathlib
import subprocess
import sys
import sysconfig
import venv

import numpy as np
import pytest

import ntkplan
from tests.cases import problem

ROOT = pathlib.Path(__file__).parents[1]

# What JAX itself needs.
JAX_ALONE = {"jax", "jaxlib", "ml_dtypes", "numpy", "opt_einsum", "scipy"}

PLAN_IN_FRESH_ENVIRONMENT = """
import pathlib, sys
import jax.numpy as jnp
import ntkplan
from ntkplan.cost.device import shipped_folder

assert pathlib.Path(ntkplan.__file__).is_relative_to(sys.prefix), ntkplan.__file__
assert shipped_folder().is_relative_to(sys.prefix), shipped_folder()
names = {profile.name for profile in ntkplan.devices()}
assert names >= set(sys.argv[2:]), names
x, params = jnp.ones((3, 5)), {"w": jnp.ones((5, 2))}
for device in (None, "nvidia_h100"):
    plan = ntkplan.plan(lambda p, x: x @ p["w"], params, x, device=device)
    print(plan)
plan.save(sys.argv[1])
assert plan.compile()(params, x)[0, 1].tolist() == [[5.0, 0.0], [0.0, 5.0]]
"""

RUN_SAVED_FILE = """
import importlib.util, sys
import numpy as np

forbidden = set(sys.argv[3].split(","))

class OnlyJax:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in forbidden:
            raise ImportError(f"{name} is not there")

sys.meta_path.insert(0, OnlyJax())
try:
    import ntkplan
except ImportError:
    pass
else:
    raise AssertionError("ntkplan can be imported")

spec = importlib.util.spec_from_file_location("saved_kernel", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
with np.load(sys.argv[2]) as file:
    arrays = dict(file)
params = [
    {"w": arrays.pop(f"w{layer}"), "b": arrays.pop(f"b{layer}")} for layer in range(3)
]
for name, x2 in (("cross", arrays["x2"]), ("self", None)):
    np.save(sys.argv[2] + f".{name}.npy", module.kernel(params, arrays["x1"], x2))
assert "ntkplan" not in sys.modules
"""


def run(*command: str | pathlib.Path, cwd: pathlib.Path) -> str:
    """Runs a command; its output is what a failure shows."""
    result = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def forbidden_packages() -> set[str]:
    """Returns every installed package that JAX can do without."""
    installed = set(importlib.metadata.packages_distributions())
    needed = {name for name in installed if name.startswith(("jax", "nvidia"))}
    return installed - needed - JAX_ALONE | {"ntkplan"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Builds the wheel; without a download where the build backend is installed."""
    folder = tmp_path_factory.mktemp("wheel")
    installed = importlib.util.find_spec("hatchling") is not None
    options = ["--no-isolation"] if installed else []
    run(
        sys.executable, "-m", "build", "--wheel", *options, "--outdir", folder, cwd=ROOT
    )
    (built,) = folder.glob("*.whl")
    return built


def fresh_environment(folder: pathlib.Path, wheel: pathlib.Path) -> pathlib.Path:
    """Installs the wheel where nothing is but what this interpreter has.

    The dependencies are borrowed: a `.pth` file puts this interpreter's packages behind
    those of the environment. It hands on no editable install.

    Returns:
        The environment's interpreter.
    """
    venv.create(folder, with_pip=False)
    scheme = {"base": str(folder), "platbase": str(folder)}
    site = pathlib.Path(sysconfig.get_path("purelib", "venv", scheme))
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "borrowed.pth").write_text("\n".join(sorted(borrowed)))
    binaries = pathlib.Path(sysconfig.get_path("scripts", "venv", scheme))
    python = binaries / pathlib.Path(sys.executable).name
    run(
        *(sys.executable, "-m", "pip", "--python", python, "install"),
        *("--no-deps", "--no-index", "--force-reinstall", wheel),
        cwd=folder,
    )
    return python


def test_wheel_plans_in_a_fresh_environment(wheel, tmp_path):
    if importlib.util.find_spec("pip") is None:
        pytest.skip("there is no pip here to install the wheel with")
    python = fresh_environment(tmp_path / "environment", wheel)
    profiles = [path.stem for path in (ROOT / "cost_models").glob("*.toml")]
    assert profiles
    saved = tmp_path / "saved.py"
    printed = run(
        python, "-I", "-c", PLAN_IN_FRESH_ENVIRONMENT, saved, *profiles, cwd=tmp_path
    )
    assert "structured_derivatives" in printed or "jacobian_contraction" in printed
    assert "def kernel(" in saved.read_text()
    command = python.parent / "ntkplan"
    version = importlib.metadata.version("ntkplan")
    assert version in run(command, "--version", cwd=tmp_path)


@pytest.mark.optimised
def test_saved_kernel_runs_where_there_is_only_jax(tmp_path):
    f, params, x1, x2 = problem("plain_mlp")
    plan = ntkplan.plan(f, params, x1, x2)
    saved = plan.save(tmp_path / "saved_kernel.py")
    arrays = {
        f"{leaf}{i}": layer[leaf] for i, layer in enumerate(params) for leaf in "wb"
    }
    np.savez(tmp_path / "inputs.npz", **arrays, x1=x1, x2=x2)
    inputs = tmp_path / "inputs.npz"
    forbidden = ",".join(sorted(forbidden_packages()))
    run(sys.executable, "-c", RUN_SAVED_FILE, saved, inputs, forbidden, cwd=tmp_path)
    kernel = plan.compile()
    for name, other in (("cross", x2), ("self", None)):
        got = np.load(f"{inputs}.{name}.npy")
        np.testing.assert_array_equal(got, np.asarray(kernel(params, x1, other)))
