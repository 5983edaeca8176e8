"""Tiles for a kernel that does not fit the memory limit all at once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import Any, cast

import sympy

from ntkplan.cost.symbols import Size, most
from ntkplan.errors import MemoryLimitError
from ntkplan.ir.program import Tiling
from ntkplan.ir.use import Layer
from ntkplan.planner.alike import made_alike
from ntkplan.planner.candidates import Priced, price, pushable
from ntkplan.planner.choose import choose
from ntkplan.planner.division import Decision, decide, divided, fitting_options
from ntkplan.planner.halves import halved
from ntkplan.planner.held import Counts, Held, held_bytes, held_sizes, pushed_bytes
from ntkplan.planner.leaf_options import LeafOptions, leaf_options
from ntkplan.planner.prices import Price
from ntkplan.planner.problem import Problem
from ntkplan.planner.request import MethodRequest
from ntkplan.planner.shared import (
    SharedWork,
    Sharing,
    push_at_least_s,
    push_price,
    sweep_price,
)

# Tiles are halved as often as this after the first that fit; smaller ones are slower.
_FURTHER_HALVINGS = 2


def choose_within(
    problem: Problem,
    priced: Sequence[tuple[Priced, ...]],
    request: MethodRequest,
    limit_bytes: float,
) -> tuple[Decision, Sequence[tuple[Priced, ...]]]:
    """Chooses the cheapest set that fits, computed tile by tile where it must be.

    Args:
        problem: The kernel.
        priced: Its candidates at the problem's sizes.
        request: Methods that the user allows.
        limit_bytes: What the kernel may need at once.

    Returns:
        The decision, and the candidates as they are priced for one tile.

    Raises:
        MemoryLimitError: No tiles fit; the message says the least that would do.
    """
    unlimited = choose(problem, priced, limit_bytes, binding=False)
    if unlimited.cost.peak_bytes <= limit_bytes:
        in_halves = halved(problem, unlimited)
        fits = in_halves.cost.peak_bytes <= limit_bytes
        return in_halves if fits else unlimited, priced
    search = _Search(problem, request, limit_bytes, pushable(priced))
    search.run()
    quickest_s = search.best[0].cost.seconds if search.best else math.inf
    try:
        at_once = choose(problem, priced, limit_bytes, below_s=quickest_s)
        if at_once.cost.seconds < quickest_s:
            search.best = (at_once, priced)
    except MemoryLimitError as error:
        search.least_bytes = min(search.least_bytes, error.least_bytes)
    if search.best is None:
        raise MemoryLimitError(
            limit_bytes=int(limit_bytes), least_bytes=math.ceil(search.least_bytes)
        )
    return search.best


class _Search:
    """Tries tiles from the largest to the smallest.

    Attributes:
        best: The quickest decision that fits with the candidates of a tile, or None.
        least_bytes: The least that any tiles need.
    """

    def __init__(
        self,
        problem: Problem,
        request: MethodRequest,
        limit_bytes: float,
        pushed: Iterable[frozenset[int]],
    ) -> None:
        self._problem, self._request, self._limit = problem, request, limit_bytes
        self._pushed = tuple(dict.fromkeys(pushed))
        self.best: tuple[Decision, Sequence[tuple[Priced, ...]]] | None = None
        self.least_bytes = float("inf")
        self._hopeless: list[tuple[float, Tiles, frozenset[int]]] = []

    def run(self) -> None:
        """Tries tiles of examples, and where none fit, of one example and few outputs.

        Every further halving makes more and smaller products. So the search stops soon
        after the first tiles that fit.
        """
        self._try_all()
        if self.best is None:
            self._find_least()

    def _try_all(self) -> None:
        problem = self._problem
        further = _FURTHER_HALVINGS
        for rows, columns in _example_tiles(problem):
            further -= self._attempt(rows, columns, None)
            if further < 0:
                return
        if further < _FURTHER_HALVINGS:
            return
        for outputs in _output_tiles(problem):
            if self._attempt(1, 1, outputs):
                return

    def _attempt(self, rows: int, columns: int, outputs: int | None) -> bool:
        """Tries tiles of one size, and says whether any fit."""
        ways: list[tuple[Tiles, frozenset[int]]] = []
        for keeps in (True, False) if outputs is None else (False,):
            if keeps and self._problem.spec.matched:
                continue
            tiling = Tiling(rows=rows, columns=columns, outputs=outputs, keeps=keeps)
            tiles = Tiles(self._problem, tile_of(self._problem, tiling), tiling)
            for pushed in self._pushed:
                held_bytes = tiles.held_bytes(pushed)
                if held_bytes <= self._limit:
                    ways.append((tiles, pushed))
                else:
                    self._hopeless.append((held_bytes, tiles, pushed))
        if not ways:
            return False
        priced = price(ways[0][0].tile, self._request)
        options = leaf_options(priced)
        fits = [self._decide(tiles, priced, options, pushed) for tiles, pushed in ways]
        return any(fits)

    def _decide(
        self,
        tiles: Tiles,
        priced: Sequence[tuple[Priced, ...]],
        options: Sequence[LeafOptions],
        pushed: frozenset[int],
    ) -> bool:
        sharing = Sharing(bytes_of=tiles.shared_bytes, work_of=tiles.shared)
        layers = self._problem.study.layers
        if len(pushed) == len(layers) and self._is_slower(tiles):
            # Its options fit or not; nothing else has to be known of it.
            fitting, _ = fitting_options(sharing, layers, options, pushed, self._limit)
            return fitting is not None
        decision, needed = decide(tiles.tile, sharing, options, pushed, self._limit)
        self.least_bytes = min(self.least_bytes, needed)
        if decision is None:
            return False
        whole = tiles.whole(decision)
        if self.best is None or whole.cost.seconds < self.best[0].cost.seconds:
            plainer = made_alike(
                tiles.tile,
                sharing,
                options,
                decision,
                self._limit,
                lambda each: tiles.whole(each).cost.seconds,
            )
            self.best = (tiles.whole(plainer), priced)
        return True

    def _is_slower(self, tiles: Tiles) -> bool:
        """Says whether pushing all leaves takes longer than what is known."""
        return self.best is not None and any(
            # What is added up in another order may differ in the last digits.
            push_s * (1 - 1e-9) >= self.best[0].cost.seconds
            for push_s in tiles.push_at_least_s()
        )

    def _find_least(self) -> None:
        """Finds the least that any tiles need, of those whose sweep does not fit too.

        Those that hold least are looked at first; soon the others hold more than that.
        """
        for least_bytes, tiles, pushed in sorted(
            self._hopeless, key=lambda way: way[0]
        ):
            if least_bytes >= self.least_bytes:
                return
            priced = price(tiles.tile, self._request)
            self._decide(tiles, priced, leaf_options(priced), pushed)


def _example_tiles(problem: Problem) -> Iterator[tuple[int, int]]:
    """Yields rows and columns, every time about half of those before."""
    size = max(problem.n1, problem.n2)
    while size > 1:
        size = -(-size // 2)
        yield min(size, problem.n1), min(size, problem.n2)


def _output_tiles(problem: Problem) -> Iterator[int]:
    """Yields numbers of basis vectors; none where several groups of them are nested."""
    spec = problem.spec
    if sum(size > 1 for size in (spec.n_full, spec.n_trace, spec.n_diagonal)) != 1:
        return
    size = spec.n_basis
    while size > 1:
        size = -(-size // 2)
        yield size


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
    def n_tiles(self) -> int:
        """How many tiles are computed."""
        return self._rows * self._columns * self._meetings

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
        return row + row / columns / self._meetings

    def _sides(self, tapped: Sequence[Layer]) -> tuple[Price, Price]:
        """Returns all forward passes and sweeps, those that are repeated too."""
        problem, tiling = self._problem, self._tiling
        first = self._rows * self._outputs
        again = first * self._columns * (self._meetings // self._outputs)
        times = [(tiling.rows, first)]
        if tiling.keeps:
            times = [(problem.n2, 1), *([] if problem.symmetric else times)]
        else:
            times.append((tiling.columns, again))
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
                contraction_seconds=contraction,
                flops=cost.flops + flops * (n_tiles - 1),
                bytes_moved=cost.bytes_moved + moved * (n_tiles - 1),
            ),
        )


def _pieces(size: Size, each: int) -> Size:
    """Returns into how many pieces a number is cut; the last may be smaller."""
    if isinstance(size, int):
        return -(-size // each)
    return sympy.ceiling(size / sympy.Integer(each))
