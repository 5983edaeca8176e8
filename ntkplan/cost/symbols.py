"""The symbols that cost formulas are written in."""

from __future__ import annotations

import sympy

n1 = sympy.Symbol("n1", positive=True, integer=True)
"""Examples in `x1`."""

n2 = sympy.Symbol("n2", positive=True, integer=True)
"""Examples in `x2`."""

n_outputs = sympy.Symbol("n_outputs", positive=True, integer=True)
"""Outputs of one example, or rather vectors in the output basis."""

Size = int | sympy.Expr
"""A number of things: known, or a formula in the symbols above."""
