"""Modules of several outputs, joined: names, shared parts and the tree."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from ntkplan.emit.join import join_modules
from ntkplan.emit.load import load
from ntkplan.emit.source import Module

MODULE = '''"""The kernel of an output,
with a note."""

import pathlib

import jax
import jax.numpy as jnp
import numpy

CONSTANTS = numpy.load(pathlib.Path(__file__).with_suffix(".npz"))
TABLE = jnp.asarray(CONSTANTS["TABLE"])


def helper(x, forward=None):
    """Uses no other forward than its own."""
    return x + {shift}  # é: forward


def forward(params, x):
    table = {{"forward": TABLE}}
    return called(helper(x)) * table["forward"] * params


@jax.jit
def kernel(params, x1, x2=None):
    """Returns the kernel."""
    return forward(params, x1)
'''


def module(*, shift, table, called):
    return Module(
        text=MODULE.format(shift=shift),
        constants={"TABLE": np.asarray(table)},
        references={"called": called},
        reasons={"called": "no source"},
    )


def joined(tree, *modules):
    paths = [f"o{number}" for number in range(len(modules))]
    return join_modules(
        dict(zip(paths, modules, strict=True)),
        jax.tree.structure(tree),
        title="A title.",
        notes=["A note."],
    )


def run(result, *arguments):
    namespace = load(
        result.text, constants=result.constants, references=result.references
    )
    return namespace["kernel"](*arguments)


def test_every_output_keeps_its_own_functions_constants_and_references():
    result = joined(
        (0, {"a": 0}),
        module(shift=1.0, table=2.0, called=lambda x: x + 10.0),
        module(shift=3.0, table=5.0, called=lambda x: x + 100.0),
    )
    first, second = run(result, 7.0, 1.0)[0], run(result, 7.0, 1.0)[1]["a"]
    assert (float(first), float(second)) == (12.0 * 2 * 7, 104.0 * 5 * 7)
    assert len(result.constants) == len(result.references) == 2
    assert sorted(result.reasons.values()) == [
        "output o0: no source",
        "output o1: no source",
    ]


def test_equal_helpers_and_constants_are_written_once():
    one, two = (
        module(shift=1.0, table=[2.0, 3.0], called=lambda x, n=n: x + n)
        for n in (1.0, 2.0)
    )
    result = joined([0, 0], one, two)
    assert result.text.count("def helper") == 1
    assert result.text.count("CONSTANTS[") == len(result.constants) == 1
    assert result.text.count("import jax\n") == 1
    assert result.text.startswith('"""A title.\n\nA note.\n"""\n\nimport')
    got = run(result, 1.0, 0.0)
    np.testing.assert_allclose(got, [[4.0, 6.0], [6.0, 9.0]])


@pytest.mark.parametrize(
    "tree",
    [
        (0, 0),
        [0, (0,)],
        {"it's": 0, 'a "b"': [None, {3: 0}]},
        {"a" * 60: {"b" * 40: 0}, "c": ([0], None, {})},
    ],
)
def test_tree_is_written_as_python(tree):
    modules = [module(shift=n, table=1.0, called=lambda x: x) for n in (1.0, 2.0)]
    result = joined(tree, *modules)
    got = run(result, 1.0, 0.0)
    assert jax.tree.structure(got) == jax.tree.structure(tree)
    assert [float(leaf) for leaf in jax.tree.leaves(got)] == [1.0, 2.0]
    assert "restore_tree" not in result.references
    body = result.text.rpartition("def kernel(")[2]
    assert max(map(len, body.splitlines())) <= 88
