"""Which functions compute the clusters of a program, for which parts of the model."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

from ntkplan.emit.cluster_function import ClusterFunction, cluster_functions
from ntkplan.emit.clusters import Cluster, clusters_of
from ntkplan.emit.unit_steps import with_unit_steps
from ntkplan.emit.unit_windows import with_unit_windows
from ntkplan.ir.program import Program


@dataclasses.dataclass(frozen=True, kw_only=True)
class Call:
    """Clusters that are computed by statements of the same function, or one alone.

    Attributes:
        function: What is called, or None where a cluster is printed itself.
        parts: Keys of the parts of the model that the statements run over; none where
            they are outside of all, or name what they read themselves.
        rows: For every statement the clusters in all of the parts.
    """

    function: ClusterFunction | None
    parts: tuple[str, ...]
    rows: tuple[tuple[Cluster, ...], ...]


def calls_of(program: Program, taken: Collection[str]) -> list[Call]:
    """Sorts the clusters of a program by what computes them, in their order.

    What parts of the model compute by one function, of layers of the same names, is one
    row of a call; calls for the same parts follow upon each other.

    Args:
        program: The program.
        taken: Names that mean something else in the module.
    """
    clusters = with_unit_windows(program, clusters_of(program))
    clusters = with_unit_steps(clusters)
    functions = cluster_functions(program, clusters, taken)
    alike: dict[tuple[object, ...], list[Cluster]] = {}
    for cluster in clusters:
        form = cluster.form or ()
        function = functions.get(form)
        if function is None or not cluster.part:
            alike[id(cluster),] = [cluster]
            continue
        key = [function.name, function.settings[form], cluster.keys]
        repeated = sum(other.part == cluster.part for other in alike.get((*key, 0), ()))
        alike.setdefault((*key, repeated), []).append(cluster)
    calls: dict[tuple[object, ...], Call] = {}
    for row in alike.values():
        function = functions.get(row[0].form or ())
        parts = tuple(cluster.part for cluster in row if cluster.part)
        if function is None:
            calls[id(row[0]),] = Call(function=None, parts=(), rows=(tuple(row),))
            continue
        key = (function.name, parts)
        known = calls.get(key)
        rows = (*(known.rows if known else ()), tuple(row))
        calls[key] = Call(function=function, parts=parts, rows=rows)
    places: dict[tuple[str, ...], int] = {}
    for number, call in enumerate(calls.values()):
        places.setdefault(call.parts, number)
    numbered = enumerate(calls.values())
    return [
        call
        for _, call in sorted(
            numbered,
            key=lambda item: places[item[1].parts] if item[1].parts else item[0],
        )
    ]


def block_sections(calls: Sequence[Call]) -> list[str]:
    """Returns the definitions of the functions that are called."""
    return list(dict.fromkeys(call.function.text for call in calls if call.function))
