"""Which parts of a model one function can be printed for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ntkplan.emit.layout import WIDTH
from ntkplan.emit.optional_step import merged
from ntkplan.emit.part_function import Inside, PartFunction
from ntkplan.emit.settings import settled

Group = tuple[list[PartFunction], list[Inside]]


def with_optional_steps(groups: Sequence[Group]) -> list[Group]:
    """Puts parts together that differ in a step which some of them leave out."""

    def differing(one: Group, other: Group) -> Group | None:
        return _together(one, other) or _together(other, one)

    return _joined(_joined(groups, _equal), differing)


def _joined(
    groups: Sequence[Group], join: Callable[[Group, Group], Group | None]
) -> list[Group]:
    """Joins groups with the first one that they can be joined with."""
    result: list[Group] = []
    for group in groups:
        for number, known in enumerate(result):
            both = join(known, group)
            if both is not None:
                result[number] = both
                break
        else:
            result.append(group)
    return result


def _equal(one: Group, other: Group) -> Group | None:
    """Returns parts as one group, if their statements are those of one function."""
    inside = [*one[1], *other[1]]
    if not _called_alike(one, other):
        return None
    if settled([each.lines for each in inside], WIDTH) is None:
        return None
    return [*one[0], *other[0]], inside


def _called_alike(one: Group, other: Group) -> bool:
    """Says whether the functions of parts take, and return, the same."""
    (first, *_), (second, *_) = one[0], other[0]
    return (
        first.tables == second.tables
        and one[1][0].given == other[1][0].given
        and len(first.returned) == len(second.returned)
        and bool(first.marks.records) == bool(second.marks.records)
    )


def _together(longer: Group, shorter: Group) -> Group | None:
    """Returns parts as one group, the second leaving a step out, if it does."""
    (functions, inside), (others, without) = longer, shorter
    if not _called_alike(longer, shorter):
        return None
    found: list[Inside] = []
    for long, short in (
        *((each, without[0]) for each in inside),
        *((inside[0], each) for each in without),
    ):
        if long.text is None or short.text is None:
            return None
        lines = merged(long.text, short.text)
        if lines is None:
            return None
        own = lines[len(found) >= len(inside)]
        found.append(Inside(given=long.given, lines=tuple(own), text=None))
    if settled([each.lines for each in found], WIDTH) is None:
        return None
    return [*functions, *others], found
