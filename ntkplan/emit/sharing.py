"""Statements that several blocks have in common are written once."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence

from ntkplan.ir.program import Block
from ntkplan.ir.statements import Cut, Statement
from ntkplan.methods.sharing import Key, keys, renamed, renamed_array


def share(blocks: Sequence[Block], input_keys: Mapping[str, str]) -> tuple[Block, ...]:
    """Leaves out statements that an earlier block has, and gives those it keeps a name.

    Args:
        blocks: The blocks, in the order in which they run.
        input_keys: The dictionary key of every array that the blocks are given.

    Returns:
        Blocks in which an array that several of them read has a name of its own, made
        of what it is and of what it is computed from.
    """
    block_keys = [keys(block.statements) for block in blocks]
    uses = Counter(key for many in block_keys for key in dict.fromkeys(many))
    shared_names: dict[Key, str] = {}
    taken: set[str] = set()
    result: list[Block] = []
    for block, many in zip(blocks, block_keys, strict=True):
        given: dict[str, str] = {}
        kept: list[Statement] = []
        for statement, key in zip(block.statements, many, strict=True):
            new = renamed(statement, given)
            if uses[key] == 1:
                kept.append(new)
                continue
            if key not in shared_names:
                name = _shared_name(statement, block, input_keys, taken)
                taken.add(name)
                shared_names[key] = name
                given[statement.target.name] = name
                kept.append(renamed(statement, given))
            given[statement.target.name] = shared_names[key]
        result.append(
            dataclasses.replace(
                block,
                statements=tuple(kept),
                results=tuple(
                    (renamed_array(array, given), factor)
                    for array, factor in block.results
                ),
                shared=frozenset(shared_names.values()),
            )
        )
    return tuple(result)


def _shared_name(
    statement: Statement,
    block: Block,
    input_keys: Mapping[str, str],
    taken: set[str],
) -> str:
    """Names an array after the first input that it is computed from."""
    origin = {item.target.name: item for item in block.statements}
    node = statement
    while True:
        name = node.sources[0].name
        if name not in origin:
            break
        node = origin[name]
    base = statement.target.name
    if isinstance(statement, Cut):
        base = f"windows{base.rsplit(':', 1)[1]}"
    wanted = f"{base}_{input_keys.get(name, 'shared')}"
    candidate, number = wanted, 1
    while candidate in taken:
        number += 1
        candidate = f"{wanted}_{number}"
    return candidate
