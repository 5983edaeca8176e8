"""What the tiles of a kernel hold and take."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Container, Iterator, Sequence
from typing import Any, cast

import sympy

from ntkplan.cost.symbols import Size, most
from ntkplan.ir.program import Tiling
from ntkplan.ir.use import Layer
from ntkplan.planner.division import Decision, divided
from ntkplan.planner.held import Counts, Held, held_bytes, held_sizes, pushed_bytes
from ntkplan.planner.prices import Price
from ntkplan.planner.problem import Problem
from ntkplan.planner.shared import (
    SharedWork,
    Sharing,
    push_at_least_s,
    push_price,
    sweep_price,
)


def tile_of(problem: Problem, tiling: Tiling) -> Problem:
    """Returns the kernel of one tile."""
    return dataclasses.replace(
        problem,
        n1=tiling.rows,
        n2=tiling.columns,
        symmetric=False,
        outputs=tiling.outputs,
    )


class Tiles:
    """What tiles of some size hold and take."""

    def __init__(self, problem: Problem, tile: Problem, tiling: Tiling) -> None:
        self.tile = tile
        self._problem, self._tiling = problem, tiling
        self._outputs = -(-problem.spec.n_basis // tile.n_basis)
        self._rows = -(-problem.n1 // tiling.rows)
        matched = problem.spec.matched
        self._columns = 1 if matched else -(-problem.n2 // tiling.columns)
        # Parts of the basis meet each other in a full kernel, and themselves in others.
        self._meetings = self._outputs ** (2 if problem.spec.n_full > 1 else 1)

    @property
    def sharing(self) -> Sharing:
        """What divisions of the leaves share, over all tiles."""
        return Sharing(bytes_of=self.shared_bytes, work_of=self.shared)

    @property
    def n_tiles(self) -> int:
        """How many tiles are computed."""
        return self._pairs * self._meetings

    @functools.cached_property
    def _pairs(self) -> int:
        """Pairs of a row and a column of tiles, not those that are mirror images."""
        problem, tiling = self._problem, self._tiling
        if not tiling.mirrors:
            return self._rows * self._columns
        rows = _starts(problem.n1, tiling.rows)
        columns = _starts(problem.n2, tiling.columns)
        return sum(
            start < own + tiling.rows for own, start in itertools.product(rows, columns)
        )

    def held_bytes(self, pushed: Container[int]) -> float:
        """Returns what is held, whatever candidates are chosen, for one division."""
        layers = self._problem.study.layers
        return max(self.shared_bytes(*divided(layers, pushed)))

    def shared_bytes(
        self, tapped: Sequence[Layer], pushed: Sequence[Layer]
    ) -> tuple[float, float]:
        """Returns the bytes that stay alive, and the most during sweep and push."""
        counts = Counts.of(self._problem, symbolic=False)
        return cast("tuple[float, float]", self.sizes(tapped, pushed, counts))

    def sizes(
        self, tapped: Sequence[Layer], pushed: Sequence[Layer], counts: Counts
    ) -> tuple[Size, Size]:
        """Returns the bytes that stay alive, and the most during sweep and push.

        Args:
            tapped: Leaves whose uses are tapped.
            pushed: The others.
            counts: The kernel's sizes, in numbers or in symbols; the tiles are given.
        """
        whole = held_sizes(self._problem, tapped, counts)
        tile: Held[Any] = held_bytes(self.tile, tapped)
        sides, swept = self.tile.n1 + self.tile.n2, max(self.tile.n1, self.tile.n2)
        at_a_time: Size = swept
        if self._tiling.keeps:
            sides, at_a_time = sides + counts.n2, counts.n2
        study, memory = self._problem.study, self._problem.profile.memory
        # What is made of parameters alone is the same for all tiles and made before the
        # loops, parameters that the sweep reads turned round among it.
        made = study.parameter_bytes + study.prepared_bytes
        # Tiles are small: what a compiler allocates unforeseen is a part of all there.
        unforeseen = 1 + memory.scratch_margin_fraction
        resident = whole.fixed_bytes + 2 * whole.kernel_bytes
        resident += self._results(whole, counts)
        resident += unforeseen * (made + sides * tile.side_bytes)
        pushing: Any = pushed_bytes(self.tile, pushed)
        swept_bytes = unforeseen * at_a_time * tile.sweep_bytes
        return resident, resident + most(swept_bytes, pushing)

    def shared(self, tapped: Sequence[Layer], pushed: Sequence[Layer]) -> SharedWork:
        """Returns the shared work of all tiles, for one division of the leaves."""
        resident_bytes, passes_bytes = self.shared_bytes(tapped, pushed)
        forward, sweep = self._sides(tapped)
        return SharedWork(
            forward=forward,
            sweep=sweep,
            push=self._push(pushed),
            resident_bytes=resident_bytes,
            passes_bytes=passes_bytes,
        )

    def _results(self, whole: Held[Any], counts: Counts) -> Any:
        """Returns the bytes of one row of tiles and of one tile."""
        rows = _pieces(counts.n1, self._tiling.rows)
        matched = self._problem.spec.matched
        columns = 1 if matched else _pieces(counts.n2, self._tiling.columns)
        row = whole.kernel_bytes / rows
        # What stands for a tile that is a mirror image is one more.
        tiles = 2 if self._tiling.mirrors else 1
        return row + tiles * row / columns / self._meetings

    def _sides(self, tapped: Sequence[Layer]) -> tuple[Price, Price]:
        """Returns all forward passes and sweeps, those that are repeated too."""
        problem, tiling = self._problem, self._tiling
        times = [(tiling.rows, self._rows * self._outputs)]
        if tiling.keeps:
            times = [(problem.n2, 1), *([] if problem.symmetric else times)]
        else:
            times.append((tiling.columns, self.n_tiles))
        forward, sweep = Price(), Price()
        if not tapped:
            return forward, sweep
        basis = self.tile.n_basis
        for n, count in times:
            forward += problem.pass_price(
                problem.study.forward, n=n, times=count, in_loop=count > 1
            )
            sweep += sweep_price(problem, tapped, n=n, columns=basis, times=count)
        return forward, sweep

    def _push(self, pushed: Sequence[Layer]) -> Price:
        """Returns the NTK-vector products of all rows."""
        return push_price(self._row, pushed, rows=self._rows)

    def push_at_least_s(self) -> Iterator[float]:
        """Bounds the time of pushing all leaves from below, closer every time."""
        layers = self._problem.study.layers
        return push_at_least_s(self._row, layers, rows=self._rows)

    @property
    def _row(self) -> Problem:
        """A row of tiles, for which NTK-vector products are made."""
        matched = self._problem.spec.matched
        return dataclasses.replace(
            self._problem,
            n1=self._tiling.rows,
            n2=self._tiling.rows if matched else self._problem.n2,
        )

    def whole(self, decision: Decision) -> Decision:
        """Returns the decision with the cost of all tiles."""
        cost, n_tiles = decision.cost, self.n_tiles
        flops = sum(own.flops for own in decision.own)
        moved = sum(own.bytes_moved for own in decision.own)
        loops = n_tiles * self._problem.profile.launch.loop_overhead_s
        contraction = cost.contraction_seconds * n_tiles + loops
        return dataclasses.replace(
            decision,
            tiling=self._tiling,
            n_tiles=n_tiles,
            cost=dataclasses.replace(
                cost,
                seconds=cost.seconds - cost.contraction_seconds + contraction,
                in_turn=True,
                largest_bytes=None,
                contraction_seconds=contraction,
                flops=cost.flops + flops * (n_tiles - 1),
                bytes_moved=cost.bytes_moved + moved * (n_tiles - 1),
            ),
        )


def _starts(count: int, size: int) -> list[int]:
    """Returns where tiles begin, the last so early that it is as large as others."""
    return [max(0, min(start, count - size)) for start in range(0, count, size)]


def _pieces(size: Size, each: int) -> Size:
    """Returns into how many pieces a number is cut; the last may be smaller."""
    if isinstance(size, int):
        return -(-size // each)
    return sympy.ceiling(size / sympy.Integer(each))
