"""Tiles for a kernel that does not fit the memory limit all at once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from ntkplan.errors import MemoryLimitError
from ntkplan.ir.program import Tiling
from ntkplan.planner.alike import made_alike
from ntkplan.planner.candidates import Priced, price, pushable
from ntkplan.planner.choose import choose
from ntkplan.planner.division import Decision, decide, fitting_options
from ntkplan.planner.halves import halved
from ntkplan.planner.leaf_options import LeafOptions, leaf_options
from ntkplan.planner.problem import Problem
from ntkplan.planner.request import MethodRequest
from ntkplan.planner.tiles import Tiles, tile_of

# Tiles are halved as often as this after the first that fit; smaller ones are slower.
_FURTHER_HALVINGS = 2


def choices_within(
    problem: Problem,
    priced: Sequence[tuple[Priced, ...]],
    request: MethodRequest,
    unlimited: Decision,
    limit_bytes: float,
) -> list[tuple[Decision, Sequence[tuple[Priced, ...]]]]:
    """Chooses the cheapest sets that fit, computed tile by tile where it must be.

    Args:
        problem: The kernel.
        priced: Its candidates at the problem's sizes.
        request: Methods that the user allows.
        unlimited: What is chosen where memory has no limit.
        limit_bytes: What the kernel may need at once.

    Returns:
        The decisions, quickest first, and the candidates as they are priced for one
        tile. There are several where it must be computed tile by tile: the best for
        tiles of every size that was tried.

    Raises:
        MemoryLimitError: No tiles fit; the message says the least that would do.
    """
    if unlimited.cost.peak_bytes <= limit_bytes:
        return [(halved(problem, unlimited, limit_bytes), priced)]
    search = _Search(problem, request, limit_bytes, pushable(priced))
    search.run()
    try:
        at_once = choose(problem, priced, limit_bytes, below_s=search.quickest_s)
        search.found.append((at_once, priced))
    except MemoryLimitError as error:
        search.least_bytes = min(search.least_bytes, error.least_bytes)
    if not search.found:
        raise MemoryLimitError(
            limit_bytes=int(limit_bytes), least_bytes=math.ceil(search.least_bytes)
        )
    return sorted(search.found, key=lambda way: way[0].cost.seconds)


def choose_tiled(
    problem: Problem,
    priced: Sequence[tuple[Priced, ...]],
    tiling: Tiling,
    limit_bytes: float,
) -> Decision:
    """Chooses the cheapest set for given tiles.

    Args:
        problem: The kernel.
        priced: Its candidates at the sizes of one tile.
        tiling: The tiles.
        limit_bytes: What the kernel may need at once.

    Raises:
        MemoryLimitError: No set fits; the message says the least that would.
    """
    tiles = Tiles(problem, tile_of(problem, tiling), tiling)
    sharing = tiles.sharing
    options, least_bytes = leaf_options(priced), math.inf
    found: list[Decision] = []
    for pushed in dict.fromkeys(pushable(priced)):
        decision, needed = decide(tiles.tile, sharing, options, pushed, limit_bytes)
        least_bytes = min(least_bytes, needed)
        if decision is not None:
            found.append(tiles.whole(decision))
    if not found:
        raise MemoryLimitError(
            limit_bytes=int(limit_bytes), least_bytes=math.ceil(least_bytes)
        )
    return min(found, key=lambda each: each.cost.seconds)


class _Search:
    """Tries tiles from the largest to the smallest.

    Attributes:
        found: Decisions that fit, with the candidates of a tile.
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
        self.found: list[tuple[Decision, Sequence[tuple[Priced, ...]]]] = []
        self.least_bytes = float("inf")
        self._hopeless: list[tuple[float, Tiles, frozenset[int]]] = []

    @property
    def quickest_s(self) -> float:
        """What the quickest decision takes; infinite where there is none."""
        return min((each.cost.seconds for each, _ in self.found), default=math.inf)

    def run(self) -> None:
        """Tries tiles of examples, and where none fit, of one example and few outputs.

        Every further halving makes more and smaller products. So the search stops soon
        after the first tiles that fit.
        """
        self._try_all()
        if not self.found:
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
            tiling = Tiling(
                rows=rows,
                columns=columns,
                outputs=outputs,
                keeps=keeps,
                mirrors=self._problem.symmetric and not self._problem.spec.matched,
            )
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
        sharing = tiles.sharing
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
        if whole.cost.seconds < self.quickest_s:
            plainer = made_alike(
                tiles.tile,
                sharing,
                options,
                decision,
                self._limit,
                lambda each: tiles.whole(each).cost.seconds,
            )
            whole = tiles.whole(plainer)
        self.found.append((whole, priced))
        return True

    def _is_slower(self, tiles: Tiles) -> bool:
        """Says whether pushing all leaves takes longer than what is known."""
        quickest_s = self.quickest_s
        # What is added up in another order may differ in the last digits.
        return quickest_s < math.inf and any(
            push_s * (1 - 1e-9) >= quickest_s for push_s in tiles.push_at_least_s()
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
