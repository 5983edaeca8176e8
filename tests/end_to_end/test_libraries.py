"""Modules of Flax NNX, Flax Linen, Equinox and Haiku: the matrix of plain JAX."""

from __future__ import annotations

import pytest

from tests.cases import LIBRARY_CASES
from tests.end_to_end.matrix import check, covering_cells, every_cell

COVERING = covering_cells(LIBRARY_CASES, n_methods=2)
REST = sorted(set(every_cell(LIBRARY_CASES)) - set(COVERING), key=str)


@pytest.mark.parametrize("cell", COVERING, ids=str)
def test_kernel_is_the_oracles(cell):
    check(cell)


@pytest.mark.slow
@pytest.mark.parametrize("cell", REST, ids=str)
def test_kernel_is_the_oracles_in_every_other_way(cell):
    check(cell)
