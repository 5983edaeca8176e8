"""Every model in plain JAX: its kernels against the dense float64 Jacobian's."""

from __future__ import annotations

import itertools

import pytest

from tests.cases import PLAIN_CASES
from tests.end_to_end.matrix import (
    DTYPES,
    EXAMPLES,
    METHODS,
    check,
    covering_cells,
    every_cell,
)
from tests.oracles import KERNELS

LIGHT = [case for case in PLAIN_CASES if not case.heavy]
HEAVY = [case for case in PLAIN_CASES if case.heavy]
COVERING = covering_cells(LIGHT) + covering_cells(HEAVY, n_methods=3)
REST = sorted(set(every_cell(PLAIN_CASES)) - set(COVERING), key=str)


@pytest.mark.parametrize("cell", COVERING, ids=str)
def test_kernel_is_the_oracles(cell):
    check(cell)


@pytest.mark.slow
@pytest.mark.parametrize("cell", REST, ids=str)
def test_kernel_is_the_oracles_in_every_other_way(cell):
    check(cell)


def test_covering_cells_cover_every_pair_of_options():
    cases = [case for case in LIGHT if case.forward_mode]
    options = {
        "case": [case.name for case in cases],
        "method": METHODS,
        "kernel": KERNELS,
        "examples": EXAMPLES,
        "dtype": DTYPES,
    }
    cells = covering_cells(cases)
    assert cells == covering_cells(cases)
    for first, second in itertools.combinations(options, 2):
        seen = {(getattr(cell, first), getattr(cell, second)) for cell in cells}
        assert seen == set(itertools.product(options[first], options[second]))
