"""The matrix of model x method x kernel x examples x precision, and its cells."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import numpy as np

import ntkplan
from tests.case import Case
from tests.cases import BY_NAME, jacobians, problem
from tests.oracles import (
    KERNELS,
    cast_floats,
    kernel_of_jacobians,
    leaf_names,
    relative_error,
    x64,
)

METHODS = (
    "chosen",
    "jacobian_contraction",
    "ntk_vector_products",
    "structured_derivatives",
    "mixed",
)
EXAMPLES = ("symmetric", "cross", "single")
DTYPES = ("float32", "float64")
FLOAT32_TOLERANCE = 2e-5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    """One kernel of one model, computed one way."""

    case: str
    method: str
    kernel: str
    examples: str
    dtype: str

    def __str__(self) -> str:
        return "-".join(dataclasses.astuple(self))


def methods_of(case: Case) -> tuple[str, ...]:
    """Returns the methods that a model can be asked for."""
    pushed = ("ntk_vector_products", "mixed")
    return tuple(m for m in METHODS if case.forward_mode or m not in pushed)


def every_cell(cases: Iterable[Case]) -> list[Cell]:
    """Returns the whole matrix."""
    return [
        Cell(
            case=case.name, method=method, kernel=kernel, examples=examples, dtype=dtype
        )
        for case in cases
        for method in methods_of(case)
        for kernel, examples, dtype in itertools.product(KERNELS, EXAMPLES, DTYPES)
    ]


def covering_cells(cases: Sequence[Case], n_methods: int = len(METHODS)) -> list[Cell]:
    """Returns cells that cover all pairs of values, the same ones every time.

    Every model meets `n_methods` of the methods, other ones from model to model. The
    rest of a cell is what has been seen least often in its pairs so far.

    Args:
        cases: The models.
        n_methods: How many methods each one is computed with.
    """
    seen: Counter[tuple[Any, Any]] = Counter()
    cells = []
    for number, case in enumerate(cases):
        methods = methods_of(case)
        for step in range(min(n_methods, len(methods))):
            method = methods[(number * n_methods + step) % len(methods)]
            options = [
                Cell(
                    case=case.name,
                    method=method,
                    kernel=kernel,
                    examples=examples,
                    dtype=dtype,
                )
                for kernel, examples, dtype in itertools.product(
                    KERNELS, EXAMPLES, DTYPES
                )
            ]
            best = min(options, key=lambda cell: badness(cell, seen))
            seen.update(pairs(best))
            cells.append(best)
    return cells


def pairs(cell: Cell) -> list[tuple[Any, Any]]:
    """Returns the pairs of values that a cell holds."""
    return list(itertools.combinations(dataclasses.asdict(cell).items(), 2))


def badness(cell: Cell, seen: Counter[tuple[Any, Any]]) -> tuple[int, int]:
    """Returns what makes a cell the worse, the less new there is in it."""
    counts = [seen[pair] for pair in pairs(cell)]
    return -sum(count == 0 for count in counts), sum(counts)


def methods_option(method: str, names: Sequence[str]) -> Any:
    """Returns what `methods=` is for a method of the matrix.

    In `mixed` one leaf in three is given to Jacobian contraction, one to NTK-vector
    products, and one is left to the planner.
    """
    if method == "chosen":
        return None
    if method != "mixed":
        return method
    turns = ("jacobian_contraction", "ntk_vector_products", None)
    named = zip(names, itertools.cycle(turns), strict=False)
    return {name: turn for name, turn in named if turn is not None}


def inputs(name: str, examples: str, dtype: str) -> tuple[Any, Any, Any]:
    """Returns `params, x1, x2` of a model as the cell's examples and dtype ask."""
    _, params, x1, x2 = problem(name)
    if examples == "single":
        x1 = jax.tree.map(lambda leaf: leaf[:1], x1)
    if dtype == "float64":
        params, x1, x2 = (cast_floats(tree, np.float64) for tree in (params, x1, x2))
    return params, x1, x2 if examples == "cross" else None


def wanted_kernel(cell: Cell) -> np.ndarray:
    """Returns the oracle's kernel for a cell."""
    jacobian1, jacobian2 = jacobians(cell.case)
    if cell.examples == "single":
        jacobian1 = jacobian1[:1]
    other = jacobian2 if cell.examples == "cross" else jacobian1
    return kernel_of_jacobians(jacobian1, other, cell.kernel)


def check(cell: Cell) -> None:
    """Plans, compiles and runs a cell, and compares it with the oracle.

    Raises:
        AssertionError: Shape, dtype or values are not those of the oracle.
    """
    wanted = wanted_kernel(cell)
    f = problem(cell.case)[0]
    params, x1, x2 = inputs(cell.case, cell.examples, cell.dtype)
    methods = methods_option(cell.method, leaf_names(params))
    if cell.dtype == "float64":
        with x64():
            got = computed(f, params, x1, x2, cell.kernel, methods)
    else:
        got = computed(f, params, x1, x2, cell.kernel, methods)
    assert got.dtype == cell.dtype
    error = relative_error(got, wanted)
    in_float64 = cell.dtype == "float64"
    limit = BY_NAME[cell.case].float64_tolerance if in_float64 else FLOAT32_TOLERANCE
    assert error <= limit, f"{cell} is off by {error:.2e}"


def computed(
    f: Any, params: Any, x1: Any, x2: Any, kernel: str, methods: Any
) -> np.ndarray:
    """Returns the kernel that ntkplan computes."""
    plan = ntkplan.plan(f, params, x1, x2, kernel=kernel, methods=methods)
    return np.asarray(plan.compile()(params, x1, x2))
