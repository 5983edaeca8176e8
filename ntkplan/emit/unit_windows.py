"""Clusters that take entries one by one, written as those that take windows of them.

A window of one entry is that entry: what is contracted with it, is contracted with the
same numbers in the same order, and a function that takes the window as an argument
serves convolutions of 1 x 1 and of 3 x 3.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence

from ntkplan.emit.clusters import Cluster, Forms, cluster_of, syntax, with_forms
from ntkplan.emit.layout import WIDTH
from ntkplan.emit.settings import settled
from ntkplan.emit.window_text import pads_to_same
from ntkplan.ir.program import Block, Program
from ntkplan.ir.statements import Array, Cut, Statement

# A function for windows there is where so many clusters take them.
_LEAST_CLUSTERS = 2


def with_unit_windows(program: Program, clusters: Sequence[Cluster]) -> list[Cluster]:
    """Gives clusters the form of others that differ in their windows alone.

    Args:
        program: What they are of.
        clusters: All clusters of a program.
    """
    return with_forms(clusters, _wide_forms(program, clusters))


def _wide_forms(program: Program, clusters: Sequence[Cluster]) -> Forms:
    """Returns the forms with windows of one entry, by those without windows."""
    cuts = [item for each in clusters for item in _cuts(each.blocks)]
    strides = {item.patches.strides for item in cuts if item.patches.is_slice}
    counts = collections.Counter(each.form for each in clusters)
    found: dict[tuple[tuple[str, ...], str], tuple[str, ...]] = {}
    for cluster in {each.form: each for each in clusters}.values():
        own = _cuts(cluster.blocks)
        if not own or cluster.form is None or counts[cluster.form] < _LEAST_CLUSTERS:
            continue
        rank = len(own[0].patches.window)
        if not all(
            _is_plain(item) and len(item.patches.window) == rank for item in own
        ):
            continue
        for steps in {(1,) * rank, *(each for each in strides if len(each) == rank)}:
            slim, wide = (
                _form(program, cluster, steps, keeps_window=keeps)
                for keeps in (False, True)
            )
            if slim and wide and settled([cluster.form, wide], WIDTH) is not None:
                found.setdefault((cluster.parameters, syntax(slim)), wide)
    return found


def _cuts(blocks: Sequence[Block]) -> list[Cut]:
    return [
        item for block in blocks for item in block.statements if isinstance(item, Cut)
    ]


def _is_plain(item: Cut) -> bool:
    """Says whether every axis of windows has a label, and its own."""
    return not item.patches.is_slice and item.shape == item.windows_shape


def _form(
    program: Program, cluster: Cluster, steps: tuple[int, ...], *, keeps_window: bool
) -> tuple[str, ...] | None:
    """Returns a cluster's form with windows of one entry, as such or as entries."""
    blocks = [
        dataclasses.replace(
            block, statements=_narrowed(block.statements, steps, keeps_window)
        )
        for block in cluster.blocks
    ]
    return cluster_of(program, blocks).form


def _narrowed(
    statements: Sequence[Statement], steps: tuple[int, ...], keeps_window: bool
) -> tuple[Statement, ...]:
    rank = len(steps)
    cuts = {item.target.name: item for item in statements if isinstance(item, Cut)}
    dropped = {
        label
        for item in cuts.values()
        for label in item.target.labels[-rank - 1 : -1]
        if not keeps_window
    }
    aliases = {
        name: item.source.name
        for name, item in cuts.items()
        if not keeps_window and set(steps) == {1}
    }

    def narrow(array: Array) -> Array:
        return dataclasses.replace(
            array,
            name=aliases.get(array.name, array.name),
            labels=tuple(label for label in array.labels if label not in dropped),
        )

    found: list[Statement] = []
    for item in statements:
        if not isinstance(item, Cut):
            found.append(item.over(narrow))
        elif item.target.name not in aliases:
            entry = _of_one_entry(item, steps, keeps_window=keeps_window)
            found.append(dataclasses.replace(entry, target=narrow(item.target)))
    return tuple(found)


def _of_one_entry(item: Cut, steps: tuple[int, ...], *, keeps_window: bool) -> Cut:
    rank = len(steps)
    *kept, features = item.windows_shape
    entries = (*kept[:-rank], features)
    windows = (*kept[:-rank], *(1,) * rank, features)
    patches = dataclasses.replace(
        item.patches, window=(1,) * rank, strides=steps, padding=((0, 0),) * rank
    )
    return dataclasses.replace(
        item,
        patches=patches,
        windows_shape=windows,
        shape=windows if keeps_window else entries,
        keeps_window=keeps_window,
        says_padding=not pads_to_same(item),
    )
