"""Saved files: they check themselves and their arguments, and need only JAX."""

from __future__ import annotations

import importlib.metadata
import pathlib

import jax
import jax.numpy as jnp
import pytest

import ntkplan
from tests.bare_process import said_by
from tests.end_to_end.saved_problems import problems

DEFAULT = ("fixed", "heads")
SLOW = (
    *("attributes", "batch", "cut", "half"),
    *("logits", "pushed", "tiles", "tolerance", "trace"),
)

# Runs each file as a program would be, all in one process, without ntkplan.
RUNNER = """
import runpy, sys
for path in sys.argv[1:]:
    try:
        runpy.run_path(path, run_name="__main__")
    except SystemExit as error:
        print(path.rpartition("/")[2], error.code)
assert "ntkplan" not in sys.modules
"""


def planned(name):
    if name == "tolerance":
        return tolerant_plan()
    f, params, x1, x2, options = problems()[name]
    return ntkplan.plan(f, params, x1, x2, **options)


def tolerant_plan():
    """Returns a plan in which sum of logits stands in for all but the readout."""
    keys = jax.random.split(jax.random.key(0), 3)
    params = {
        "body": jax.random.normal(keys[0], (600, 400)) / 25,
        "readout": jax.random.normal(keys[1], (400, 60)) / 20,
    }

    def f(params, x):
        return jnp.tanh(x @ params["body"]) @ params["readout"]

    x = jax.random.normal(keys[2], (50, 600))
    plan = ntkplan.plan(f, params, x, tolerance=0.9)
    assert plan.approximation.paths == ("body",)
    return plan


def run(folder: pathlib.Path) -> dict[str, str]:
    """Runs all saved files, and returns the exit code of each."""
    paths = sorted(str(path) for path in folder.glob("*.py"))
    lines = said_by(RUNNER, paths, folder).splitlines()
    assert sum(line.startswith("largest relative error") for line in lines) == len(
        paths
    )
    codes = [line.split() for line in lines if not line.startswith("largest")]
    return {name.removesuffix(".py"): code for name, code in codes}


def check_files(folder, names):
    for name in names:
        plan = planned(name)
        plan.save(folder / f"{name}.py")
        assert plan.source() == planned(name).source(), "not the same text again"
    # A wrong kernel does not pass.
    text = (folder / f"{names[0]}.py").read_text()
    before, returned, after = text.partition("    return theta")
    assert returned
    wrong = f"{before}    return 1.01 * theta{after}"
    (folder / "wrong.py").write_text(wrong)
    assert run(folder) == {**dict.fromkeys(names, "0"), "wrong": "1"}


def test_saved_files_check_themselves(tmp_path):
    check_files(tmp_path, DEFAULT)
    for path in tmp_path.glob("*.py"):
        assert max(map(len, path.read_text().splitlines())) <= 88


@pytest.mark.slow
def test_saved_files_of_every_other_form_check_themselves(tmp_path):
    check_files(tmp_path, SLOW)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["trace", "fixed", "pushed"])
def test_what_is_too_large_is_checked_in_parts(tmp_path, monkeypatch, name):
    monkeypatch.setattr("ntkplan.emit.self_check._MOST_NUMBERS", 300)
    text = planned(name).source()
    assert "would take too much memory" in text
    (tmp_path / f"{name}.py").write_text(text)
    assert run(tmp_path) == {name: "0"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda p, x: ({"layers": p["layers"][:1]}, x, x),
            r"params\['layers'\]\[1\]\['b'\] is missing, planned: float32",
        ),
        (
            lambda p, x: (jax.tree.map(lambda a: a.T, p), x, x),
            r"params\['layers'\]\[0\]\['w'\] is float32\[7,5\].*float32\[5,7\]",
        ),
        (lambda p, x: (p, x[:2, :4], None), r"x1 is float32\[2,4\].*float32\[n,5\]"),
        (lambda p, x: (p, x[0], x), r"x1 is float32\[5\], .*\[n,5\]. The call"),
        (lambda p, x: (p, x, x.astype(int)), r"x2 is int32\[\d,5\].*float32\[n,5\]"),
        (lambda p, x: (p, x, {"x": x}), r"x2 is a dict, planned: float32\[n,5\]"),
        (lambda p, x: (p, x.tolist(), x), r"x1 is a list, planned: float32\[n,5\]"),
        (
            lambda p, x: ({**p, "b": x}, x, x),
            r"params\['b'\] is float32\[\d,5\], planned: nothing.*The call that plans",
        ),
        (
            lambda p, x: (p, x[:0], x),
            r"x1 is float32\[0,5\], .*\[n,5\]. n is at least 1",
        ),
        (
            lambda p, x: (p, x, x[:0]),
            r"x2 is float32\[0,5\], .*\[n,5\]. n is at least 1",
        ),
        (lambda p, x: (p, x[0, 0], x), r"x1 is float32\[\]"),
    ],
)
def test_the_emitted_code_says_which_argument_does_not_fit(change, message):
    f, params, x1, _, options = problems()["trace"]
    kernel = ntkplan.plan(f, params, x1, **options).compile().function
    with pytest.raises(ValueError, match=message):
        kernel(*change(params, jnp.asarray(x1)))


def test_the_emitted_code_counts_matched_examples():
    f, params, x, _, options = problems()["fixed"]
    kernel = ntkplan.plan(f, params, x, **options).compile().function
    with pytest.raises(ValueError, match="different numbers of examples: 2 and 1"):
        kernel(params, x[:2], x[:1])


def test_the_docstring_says_how_to_plan_again():
    f, params, x1, x2, _ = problems()["trace"]
    plan = ntkplan.plan(
        f,
        params,
        jax.ShapeDtypeStruct(x1.shape, x1.dtype),
        x2,
        kernel="trace",
        wrt=lambda path, leaf: path.endswith("w"),
        precision=jax.lax.Precision.HIGHEST,
        methods={"*": "structured_derivatives"},
    )
    text = " ".join(plan.source().split())
    assert (
        'ntkplan.plan(perceptron, params, x1, x2, kernel="trace", wrt=..., '
        'precision="highest", methods={"*": "structured_derivatives"})'
    ) in text
    assert "{layers: [{b: 7, w: 5x7}, {b: 3, w: 7x3}]}" in text
    assert f"Written by ntkplan {importlib.metadata.version('ntkplan')};" in text
