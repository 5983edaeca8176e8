"""What a GPU's compiler holds beside Jacobians that share a factor.

XLA's GPU compiler makes one product of two that share an operand (in its pass
`DotMerger`), unless both are large, and copies each out of it where that is read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from ntkplan.cost import symbols
from ntkplan.cost.profile import Platform
from ntkplan.cost.symbols import Size, total
from ntkplan.ir.statements import Contract
from ntkplan.methods.sharing import Key
from ntkplan.planner.candidates import Priced
from ntkplan.planner.problem import Problem

# Two products are left apart if both read and write more (found by compiling pairs).
_LARGE_BYTES = 2**26


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Product:
    """A Jacobian of one side: its factors by name, and its bytes."""

    factors: tuple[str, ...]
    written: Size
    moved: Size


def merged_sizes(problem: Problem, chosen: Sequence[Priced]) -> list[Size]:
    """Returns what is alive beside each candidate's own part, 0 where it is not merged.

    Args:
        problem: The kernel.
        chosen: One candidate for every layer.
    """
    if problem.profile.platform is not Platform.GPU:
        return [0] * len(chosen)
    own = [dict(_products(problem, item)) for item in chosen]
    readers: dict[str, dict[Key, _Product]] = {}
    for products in own:
        for key, product in products.items():
            for factor in product.factors:
                readers.setdefault(factor, {})[key] = product
    merged = {
        factor: _merged(problem, tuple(products.values()))
        for factor, products in readers.items()
    }

    def beside(product: _Product) -> Size:
        each = [merged[factor] for factor in product.factors]
        return max(each, key=lambda size: bytes_at(problem, size))

    return [total(0, *map(beside, products.values())) for products in own]


def merged_bytes(problem: Problem, chosen: Sequence[Priced]) -> list[float]:
    """Returns the same for the sizes of the problem."""
    return [bytes_at(problem, size) for size in merged_sizes(problem, chosen)]


def bytes_at(problem: Problem, size: Size) -> float:
    """Returns a size for the problem's own numbers of examples and outputs."""
    if isinstance(size, int):
        return size
    values = (problem.n1, problem.n2, problem.n_basis)
    number: Any = size.xreplace(dict(zip(symbols.SYMBOLS, values, strict=True)))
    return float(number)


def _products(problem: Problem, item: Priced) -> Iterator[tuple[Key, _Product]]:
    """Yields the Jacobians that a candidate makes of what it is given."""
    candidate, symmetric = item.candidate, problem.symmetric
    work = candidate.symmetric_work if symmetric else candidate.work
    parts = candidate.symmetric_parts if symmetric else candidate.parts
    first = 0
    for (key, statement), (_, count) in zip(
        candidate.keyed(symmetric=symmetric), parts, strict=True
    ):
        operations = work.operations[first : first + count]
        first += count
        if isinstance(statement, Contract) and statement.is_jacobian and operations:
            written = operations[-1].bytes_written_fresh
            moved = total(operations[-1].bytes_read, written)
            yield key, _Product(factors=key.inputs, written=written, moved=moved)


def _merged(problem: Problem, products: Sequence[_Product]) -> Size:
    """Returns the bytes of the one product that those of a factor become."""
    ordered = sorted(products, key=lambda each: bytes_at(problem, each.moved))
    small = [p for p in ordered if bytes_at(problem, p.moved) <= _LARGE_BYTES]
    together = ordered[: len(small) + 1] if small else []
    return total(0, *(p.written for p in together)) if len(together) > 1 else 0
