"""The leaves' own parts of the kernel, added up in `theta`."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from ntkplan.emit.expression import INDENT, atom, call, indented, sequence, statement
from ntkplan.emit.names import free
from ntkplan.emit.remarks import remark
from ntkplan.emit.statements import BlockPrinter
from ntkplan.emit.taps import WIDTH
from ntkplan.ir.program import Block, Part, Program

_SIDES = ("activations1", "cotangents1", "activations2", "cotangents2")


def block_lines(program: Program) -> list[str]:
    """Prints all blocks; those that run over the same steps share a loop.

    Those of parts of the model that are alike are calls of one function.
    """
    calls = part_calls(program)
    lines: list[str] = []
    first, group = True, None
    pending = [block for block in program.blocks if not _is_called(block, calls)]
    while pending:
        steps = pending[0].loop
        if steps == 1:
            block = pending.pop(0)
            lines += [""] * (block.group != group)
            group = block.group
            lines += _one_block(program, block, first=first)
            first = False
            continue
        looped = [block for block in pending if block.loop == steps]
        pending = [block for block in pending if block.loop != steps]
        lines += ["", *(["theta = 0.0"] * first), f"for step in range({steps}):"]
        first, group = False, None
        for number, block in enumerate(looped):
            lines += [""] * (number > 0)
            inner = _one_block(program, block, first=False, width=WIDTH - len(INDENT))
            lines += [INDENT + line for line in inner]
    for name, parts in _by_function(calls).items():
        lines += ["", *(["theta = 0.0"] * first), *_call_lines(name, parts)]
        first = False
    return lines


def part_calls(program: Program) -> dict[str, str]:
    """Returns the function for each part that has one, by its key."""
    return {part: name for part, (name, _) in _functions(program).items()}


def part_sections(program: Program) -> list[str]:
    """Returns the definitions of the functions that blocks call."""
    return list(dict.fromkeys(text for _, text in _functions(program).values()))


def _functions(program: Program) -> dict[str, tuple[str, str]]:
    """Returns name and text of the function of every part that shares one."""
    bodies: dict[str, tuple[str, ...]] = {}
    for part in program.parts:
        blocks = _blocks_of(program, part)
        if blocks:
            bodies[part.key] = tuple(_body(program, part, blocks, None))
    found: dict[str, tuple[str, str]] = {}
    known: dict[tuple[str, ...], tuple[str, str]] = {}
    for part in program.parts:
        body = bodies.get(part.key)
        if body is None:
            continue
        alike = [other for other in program.parts if bodies.get(other.key) == body]
        if len(alike) == 1:
            continue
        if body not in known:
            taken = [name for name, _ in known.values()]
            name = free(f"{part.function}_kernel", taken)
            known[body] = (name, _function(program, alike, name))
        found[part.key] = known[body]
    return found


def _blocks_of(program: Program, part: Part) -> list[Block]:
    return [block for block in program.blocks if block.part == part.key]


def _function(program: Program, parts: Sequence[Part], name: str) -> str:
    paths = [part.path for part in parts]
    count = f"one of {len(paths)} parts, `{paths[0]}` to `{paths[-1]}`"
    described = textwrap.wrap(f"What is added to the kernel by {count}.", WIDTH - 6)
    quoted = [f'"""{described[0]}', *described[1:]]
    quoted = [*quoted, '"""'] if len(quoted) > 1 else [quoted[0] + '"""']
    first = _blocks_of(program, parts[0])
    body = _body(program, parts[0], first, parts)
    lines = [f"def {name}({', '.join(_SIDES)}):", *indented([*quoted, *body])]
    return "\n".join([*lines, f"{INDENT}return theta"])


def _body(
    program: Program,
    part: Part,
    blocks: Sequence[Block],
    alike: Sequence[Part] | None,
) -> list[str]:
    """Prints a part's blocks in its own names, with remarks on all that are alike."""
    lines: list[str] = []
    of_others = [_blocks_of(program, other) for other in alike or ()]
    for number, block in enumerate(blocks):
        if alike:
            records = [others[number].record for others in of_others]
            known = [record for record in records if record is not None]
            lines += comment_lines(remark(known, part.path), WIDTH)
        lines += _printer(program, block, WIDTH, part.key).lines(first=number == 0)
    return lines


def _is_called(block: Block, calls: dict[str, str]) -> bool:
    return block.part in calls


def _by_function(calls: dict[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for part, name in calls.items():
        found.setdefault(name, []).append(part)
    return found


def _call_lines(name: str, parts: Sequence[str]) -> list[str]:
    """Prints a loop over the parts that share a function."""
    keys = sequence([f'"{part}"' for part in parts])
    arguments = (atom(f"{side}[part]") for side in _SIDES)
    added = statement("theta += ", call(name, *arguments), WIDTH - len(INDENT))
    head = statement("for part in ", keys, WIDTH - 1)
    return [*head[:-1], f"{head[-1]}:", *indented(added)]


def _one_block(
    program: Program, block: Block, *, first: bool, width: int = WIDTH
) -> list[str]:
    comments = block.comments
    if block.record is not None:
        comments = remark([block.record], "")
    printer = _printer(program, block, width, "")
    return [*comment_lines(comments, width), *printer.lines(first=first)]


def _printer(program: Program, block: Block, width: int, part: str) -> BlockPrinter:
    """Returns the printer of a block, in the names of a part or of all."""
    return BlockPrinter(
        block,
        program.kernel_labels,
        program.part_names[part] if part else program.input_names,
        None,  # that of the whole kernel
        program.sums_dtype,
        width,
    )


def comment_lines(texts: Sequence[str], width: int) -> list[str]:
    """Prints texts as comments, folded to a width."""
    return [f"# {line}" for text in texts for line in textwrap.wrap(text, width - 2)]
