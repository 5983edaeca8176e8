"""Matrix products and entrywise ones, crossed over operand, axes and sizes."""

from __future__ import annotations

import itertools

import jax.numpy as jnp
import pytest
from jax import lax

from ntkplan._jax import primitives
from tests.rules.checks import check_labels
from tests.rules.traced import numbers

SIZES = {"b": 2, "d": 5, "k": 3, "l": 7, "m": 4, "n": 6, "o": 1, "p": 1, "q": 1}

DOTS = (
    ("mk", "kn"),
    ("km", "kn"),
    ("mk", "nk"),
    ("km", "nk"),
    ("k", "kn"),
    ("mk", "k"),
    ("k", "k"),
    ("", ""),
    ("m", "n"),
    ("mo", "on"),
    ("om", "no"),
    ("mkl", "lkn"),
    ("kml", "nlk"),
    ("mkn", "kl"),
    ("lk", "mkn"),
    ("bmk", "bkn"),
    ("mbk", "nkb"),
    ("kbm", "bnk"),
    ("bm", "bn"),
    ("bk", "bk"),
    ("b", "b"),
    ("bdmk", "dbkn"),
    ("kmdb", "bnkd"),
    ("bdkl", "dlbk"),
    ("obmk", "bokn"),
    ("opk", "kq"),
    ("op", "pq"),
    ("moqk", "kpn"),
)
"""Operands as letters: `b` and `d` are batch axes, `k` and `l` contracted ones where
both have them; `o`, `p` and `q` are of length one."""


def dimension_numbers(left, right):
    shared = [letter for letter in left if letter in right]
    batch = [letter for letter in shared if letter in "bd" or letter + right[0] == "ob"]
    contracted = [letter for letter in shared if letter not in batch]
    return tuple(
        tuple(tuple(text.index(letter) for letter in letters) for text in (left, right))
        for letters in (contracted, batch)
    )


@pytest.mark.parametrize("operand", [0, 1])
@pytest.mark.parametrize(("left", "right"), DOTS)
def test_dot_general(left, right, operand):
    numbering = dimension_numbers(left, right)
    arrays = [
        numbers(*(SIZES[letter] for letter in text), seed=seed)
        for seed, text in enumerate((left, right))
    ]
    found = check_labels(
        primitives.dot_general_p,
        operand,
        lambda a, b: lax.dot_general(a, b, numbering),
        *arrays,
    )
    assert found.rule == "dot_general"


def test_contracted_axes_in_another_order():
    """The pairs of axes, not their order, say what is contracted with what."""
    left, right = numbers(3, 7, 4), numbers(7, 4, 3)
    for contracted, operand in itertools.product(
        (((0, 2), (2, 1)), ((2, 0), (1, 2))), (0, 1)
    ):
        check_labels(
            primitives.dot_general_p,
            operand,
            lambda a, b, pairs=contracted: lax.dot_general(a, b, (pairs, ((), ()))),
            left,
            right,
        )


SHAPES = ((), (5,), (3, 1), (1, 1), (2, 1, 3))
ENTRYWISE = {
    "mul": (primitives.mul_p, lax.mul),
    "div": (primitives.div_p, lax.div),
    "add": (primitives.add_p, lax.add),
    "sub": (primitives.sub_p, lax.sub),
    "max": (primitives.max_p, lax.max),
    "pow": (primitives.pow_p, lambda a, b: lax.pow(jnp.abs(a), b)),
    "atan2": (primitives.atan2_p, lax.atan2),
}


@pytest.mark.parametrize("operand", [0, 1])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["mul", "div", "sub"])
def test_entrywise(name, shape, operand):
    primitive, function = ENTRYWISE[name]
    left, right = numbers(*shape), numbers(*shape, seed=1)
    found = check_labels(primitive, operand, function, left, right)
    assert found.rule == name


@pytest.mark.parametrize("operand", [0, 1])
@pytest.mark.parametrize("name", ["add", "max", "pow", "atan2"])
def test_other_entrywise(name, operand):
    primitive, function = ENTRYWISE[name]
    check_labels(primitive, operand, function, numbers(3, 5), numbers(3, 5, seed=1))


SCALARS = {
    "mul": (0, lambda a: a * 2.5),
    "mul_left": (1, lambda a: lax.mul(jnp.asarray(-1.5, a.dtype), a)),
    "div": (0, lambda a: a / 3.0),
    "div_left": (1, lambda a: 3.0 / a),
    "add": (0, lambda a: a + 2.0),
    "sub": (0, lambda a: a - 2.0),
    "sub_left": (1, lambda a: 2.0 - a),
    "pow": (0, lambda a: lax.pow(jnp.abs(a), 2.5)),
}


@pytest.mark.parametrize("name", SCALARS)
@pytest.mark.parametrize("shape", [(), (3, 5)])
def test_scalars(name, shape):
    operand, function = SCALARS[name]
    primitive = ENTRYWISE[name.split("_")[0]][0]
    check_labels(primitive, operand, function, numbers(*shape))


@pytest.mark.parametrize(
    ("name", "function", "of_leaf", "of_data"),
    [
        ("mul", lambda a, x: a * x, (5,), (3, 5)),
        ("add", lambda a, x: a + x, (5,), (3, 5)),
        ("sub", lambda a, x: x - a, (3, 1), (3, 5)),
        ("div", lambda a, x: x / a, (), (3, 5)),
        ("mul", lambda a, x: a * x, (2, 3, 5), (5,)),
        ("mul", lambda a, x: a * x, (2, 1, 5), (3, 1)),
    ],
)
def test_stretched(name, function, of_leaf, of_data):
    """jax.numpy stretches operands by equations of their own, or leaves them as is."""
    leaf, data = numbers(*of_leaf), numbers(*of_data, seed=1)
    for operand in (0, 1):
        check_labels(ENTRYWISE[name][0], operand, function, leaf, data)
