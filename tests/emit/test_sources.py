"""Whole modules, of models of every kind, please the linter and the formatter."""

from __future__ import annotations

import subprocess
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
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


def _long_names(params, x):
    """Outputs whose names are behind those of the functions that compute them."""
    hidden = jnp.tanh(x @ params["first"])
    return {
        "classifications_of_all_examples": (hidden @ params["mean"]) ** 2,
        "predictive_log_variance": hidden @ params["variance"],
    }


def _checkpointed_loop(params, x):
    """A function inside of a loop's, which stands behind what is unpacked."""

    def block(hidden, layer):
        def inner(hidden):
            return jnp.tanh(hidden @ layer["w"] + layer["b"])

        return jax.checkpoint(inner)(hidden), None

    return jax.lax.scan(block, x, params)[0]


def _gates(params, x):
    """Parts of one product, read through one method behind the other."""
    cell = params["recurrent_cell"]
    kernels = jnp.concatenate([cell["input_gate"], cell["forget_gate"]], axis=-1)
    first, second = jnp.split((x @ kernels)[..., None, :], 2, axis=-1)
    return jnp.sum(jnp.tanh(first) * jax.nn.sigmoid(second), axis=-3)


_ONES = np.ones((4, 4))
_MODELS = {
    "long_names": (
        _long_names,
        {"first": _ONES, "mean": _ONES, "variance": _ONES},
        np.ones((3, 4)),
    ),
    "checkpointed_loop": (
        _checkpointed_loop,
        {"w": np.ones((3, 4, 4)), "b": np.ones((3, 4))},
        np.ones((3, 4)),
    ),
    "gates": (
        _gates,
        {"recurrent_cell": {"input_gate": _ONES, "forget_gate": _ONES}},
        np.ones((3, 6, 4)),
    ),
}


@pytest.mark.parametrize("methods", [None, "structured_derivatives"])
def test_saved_files_are_as_the_formatter_leaves_them(methods, tmp_path: Path):
    options = {} if methods is None else {"methods": methods}
    for name, (function, params, x) in _MODELS.items():
        plan = ntkplan.plan(function, params, x, device="cpu", **options)
        plan.save(tmp_path / f"{name}.py")
        text = (tmp_path / f"{name}.py").read_text()
        assert [line for line in text.splitlines() if len(line) > 88] == [], name
    _please_ruff(tmp_path)
