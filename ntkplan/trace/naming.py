"""From meetings to uses: labels get names, and those of one leaf the same names.

The leaf's axes are split as finely as any use splits them. Uses of different parts of a
leaf are kept apart by the number of the region that they use.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence

from ntkplan._jax import Var
from ntkplan.ir.use import Crop, Factor, Use
from ntkplan.rules import axes
from ntkplan.rules.axes import Atom, Placement
from ntkplan.rules.regions import Region, disjoint, region
from ntkplan.trace.meeting import Meeting, Part, Parts, Uncovered

_CUT = "its uses split an axis in ways that cut each other"
_OVERLAP = "its uses take parts of it that overlap"
_TURNED = "one use takes it in another direction than the others"


def named_uses(
    meetings: Sequence[Meeting], varying: Collection[Var]
) -> list[Use] | Uncovered:
    """Returns the uses of one leaf.

    Args:
        meetings: Where it meets data.
        varying: Variables that differ from example to example.
    """
    groups: dict[Region, list[Meeting]] = {}
    for meeting in meetings:
        groups.setdefault(region(meeting.axis_map), []).append(meeting)
    regions = list(groups)
    for number, one in enumerate(regions):
        if not all(disjoint(one, other) for other in regions[:number]):
            return Uncovered(reason=_OVERLAP)
    uses: list[Use] = []
    for number, group in enumerate(groups.values()):
        refined = _refined(group)
        if isinstance(refined, Uncovered):
            return refined
        uses += [_named(meeting, number, varying) for meeting in refined]
    return sorted(_alike(uses), key=lambda use: use.place)


def _alike(uses: Sequence[Use]) -> list[Use]:
    """Lets a use whose data side is shared by examples stack with those whose is not.

    The first step of a recurrence starts from a constant, all others do not.
    """
    varying = {use.form for use in uses if not use.shared}
    result: list[Use] = []
    for use in uses:
        as_varying = dataclasses.replace(use, shared=False)
        result.append(as_varying if as_varying.form in varying else use)
    return result


def _refined(meetings: Sequence[Meeting]) -> list[Meeting] | Uncovered:
    """Splits the leaf's atoms in all meetings until they are the same."""
    turned = any(
        atom.stride < 0 for meeting in meetings for atom in meeting.axis_map.leaf_atoms
    )
    if turned and len(meetings) > 1:
        return Uncovered(reason=_TURNED)
    splits: list[dict[Atom, tuple[Atom, ...]]] = [{} for _ in meetings]
    for axis in range(len(meetings[0].axis_map.offsets)):
        sizes = tuple(_sizes(meetings[0], axis))
        for other in meetings[1:]:
            refined = axes.common_refinement(sizes, _sizes(other, axis))
            if refined is None:
                return Uncovered(reason=_CUT)
            sizes = refined
        for meeting, split in zip(meetings, splits, strict=True):
            _split(meeting, axis, sizes, split)
            if any(len(split.get(atom, ())) > 1 for atom in _hot(meeting)):
                return Uncovered(reason=_CUT)
    return [
        _divided(meeting, split)
        for meeting, split in zip(meetings, splits, strict=True)
    ]


def _atoms(meeting: Meeting, axis: int) -> list[Atom]:
    """Returns a meeting's atoms of one axis of the leaf, outermost first."""
    mine = [atom for atom in meeting.axis_map.leaf_atoms if atom.axis == axis]
    return sorted(mine, key=lambda atom: -abs(atom.stride))


def _hot(meeting: Meeting) -> list[Atom]:
    """Returns the atoms that the leaf is looked up along."""
    hot = [scale.hot for scale in meeting.axis_map.scales]
    return [atom for atom in (meeting.hot, *hot) if atom is not None]


def _sizes(meeting: Meeting, axis: int) -> list[int]:
    return [atom.size for atom in _atoms(meeting, axis)]


def _split(
    meeting: Meeting,
    axis: int,
    sizes: Sequence[int],
    split: dict[Atom, tuple[Atom, ...]],
) -> None:
    pending = list(sizes)
    for atom in _atoms(meeting, axis):
        mine, left = [], atom.size
        while left > 1:
            mine.append(pending.pop(0))
            left //= mine[-1]
        split[atom] = axes.split_atom(atom, mine)


def _divided(meeting: Meeting, split: Mapping[Atom, tuple[Atom, ...]]) -> Meeting:
    def divided(many: Sequence[Parts]) -> tuple[Parts, ...]:
        return tuple(
            dataclasses.replace(
                axis,
                parts=tuple(
                    piece
                    for part in axis.parts
                    for piece in (
                        split.get(part, (part,)) if isinstance(part, Atom) else (part,)
                    )
                ),
            )
            for axis in many
        )

    steps = tuple(
        piece for atom in meeting.axis_map.steps for piece in split.get(atom, (atom,))
    )
    axis_map = axes.split_atoms(meeting.axis_map, split)
    return dataclasses.replace(
        meeting,
        value=divided(meeting.value),
        activations=divided(meeting.activations),
        axis_map=dataclasses.replace(axis_map, steps=steps),
    )


class _Names:
    """Names of one use's labels: the leaf's by what they are, others by their turn."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self._rule_sizes = sizes
        self._others: dict[Part, str] = {}
        self.sizes: dict[str, int] = {}

    def __getitem__(self, part: Part) -> str:
        if isinstance(part, Atom) and part.axis >= 0:
            name = f"parameter{part.axis}_{abs(part.stride)}_{part.size}"
        else:
            name = self._others.setdefault(part, f"axis{len(self._others)}")
        is_atom = isinstance(part, Atom)
        self.sizes[name] = part.size if is_atom else self._rule_sizes[part]
        return name

    def flat(self, many: Sequence[Parts]) -> tuple[str, ...]:
        return tuple(self[part] for axis in many for part in axis.parts)


def _named(meeting: Meeting, region: int, varying: Collection[Var]) -> Use:
    names = _Names(meeting.sizes)
    value, activations = names.flat(meeting.value), names.flat(meeting.activations)
    factors = tuple(
        Factor(
            variable=scale.variable,
            labels=tuple(names[atom] for atoms in scale.axes for atom in atoms),
            shared=scale.variable not in varying,
            hot=None if scale.hot is None else names[scale.hot],
        )
        for scale in meeting.axis_map.scales
    )
    atoms = sorted(
        meeting.axis_map.leaf_atoms, key=lambda atom: (atom.axis, -abs(atom.stride))
    )
    hot = None if meeting.hot is None else names[meeting.hot]
    return Use(
        rule=meeting.rule,
        prefix=tuple(dict.fromkeys(scale.rule for scale in meeting.axis_map.scales)),
        place=meeting.place,
        tap=meeting.tap,
        value=value,
        value_crop=_crop(meeting.value, names),
        recorded=meeting.recorded,
        shared=meeting.recorded is not None and meeting.recorded not in varying,
        activations=activations,
        activations_crop=_crop(meeting.activations, names),
        patches=meeting.patches,
        n_steps=meeting.n_steps,
        hot=hot,
        factors=factors,
        steps=tuple(names[atom] for atom in meeting.axis_map.steps),
        parameter=tuple(names[atom] for atom in atoms),
        region=region,
        sizes=names.sizes,
        factor=meeting.factor,
    )


def _crop(many: Sequence[Parts], names: _Names) -> Crop | None:
    if all(axis.placement is None for axis in many):
        return None
    shape: list[int] = []
    slices: list[tuple[int, int, int]] = []
    for axis in many:
        inner = 1
        for part in axis.parts:
            inner *= names.sizes[names[part]]
        placement = axis.placement or Placement(low=0, step=1, size=inner)
        shape.append(placement.size)
        last = placement.low + (inner - 1) * placement.step
        slices.append((placement.low, last + 1, placement.step))
    return Crop(shape=tuple(shape), slices=tuple(slices))
