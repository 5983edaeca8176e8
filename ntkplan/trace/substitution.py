"""Says where a leaf meets data: an equation's labels, in the atoms of the leaf."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ntkplan._jax import Var
from ntkplan.ir.graph import Flow
from ntkplan.rules import axes
from ntkplan.rules.axes import Atom, AxisMap, Placement
from ntkplan.rules.labelling import AxisLabels, Labelling
from ntkplan.rules.step import Step
from ntkplan.rules.table import label
from ntkplan.trace.meeting import Meeting, Part, Parts
from ntkplan.trace.sunk_taps import sunk


def meeting_of(flow: Flow, step: Step, axis_map: AxisMap) -> Meeting | None:
    """Says where an array that is made of a leaf meets data in an equation.

    Args:
        flow: The body that the equation is in.
        step: The equation, and which of its operands the array is.
        axis_map: How the array is made of the leaf.

    Returns:
        None where no rule labels the equation, or where its labels cut the leaf's axes
        in ways that cannot be said.
    """
    if len(step.equation.outputs) != 1:
        return None
    labelling = label(step)
    if labelling is None:
        return None
    recorded = labelling.recorded
    if recorded is not None and not isinstance(recorded, Var):
        return None
    substituted = _substitution(labelling, axis_map)
    if substituted is None:
        return None
    parts, placements, axis_map = substituted
    value = _placed(labelling.value, parts, {**placements, **labelling.placements})
    activations = _placed(labelling.activations, parts, placements)
    if value is None or activations is None:
        return None
    if placements.keys() & labelling.placements.keys():
        return None
    if labelling.patches and any(axis.placement for axis in activations):
        return None
    hot = None
    if labelling.hot is not None:
        (*others, hot) = parts[labelling.hot]
        if others or not isinstance(hot, Atom) or labelling.hot in placements:
            return None
        if hot.axis < 0 and hot not in axis_map.scaled_atoms:
            return None
    held = {part for many in parts.values() for part in many}
    held |= axis_map.scaled_atoms | set(axis_map.steps)
    if not axis_map.leaf_atoms <= held:
        return None
    place, scaled = sunk(flow, step.equation.outputs[0])
    return Meeting(
        rule=labelling.rule,
        place=((step.number, step.operand),),
        tap=place.tap,
        scaled=scaled,
        value=value,
        recorded=recorded,
        activations=activations,
        patches=labelling.patches,
        hot=hot,
        axis_map=axis_map,
        sizes=dict(labelling.sizes),
        factor=labelling.factor * axis_map.factor,
    )


def _placed(
    groups: Sequence[AxisLabels],
    parts: dict[str, tuple[Part, ...]],
    placements: dict[str, Placement],
) -> tuple[Parts, ...] | None:
    """Expresses axes in parts; an axis that is a product cannot be placed."""
    result: list[Parts] = []
    for group in groups:
        placed = [placements[name] for name in group if name in placements]
        if placed and len(group) > 1:
            return None
        result.append(
            Parts(
                parts=tuple(part for name in group for part in parts[name]),
                placement=placed[0] if placed else None,
            )
        )
    return tuple(result)


def _substitution(
    labelling: Labelling, axis_map: AxisMap
) -> tuple[dict[str, tuple[Part, ...]], dict[str, Placement], AxisMap] | None:
    """Expresses the rule's labels in the leaf's atoms.

    Returns:
        What stands for each of the rule's labels (nothing for one of length one), which
        of them are part of a longer axis, and the map with its atoms split to fit; None
        where an axis cannot be split so.
    """
    parts: dict[str, tuple[Part, ...]] = {
        name: (name,) if size > 1 else () for name, size in labelling.sizes.items()
    }
    placements: dict[str, Placement] = {}
    split: dict[Atom, tuple[Atom, ...]] = {}
    for group, axis in zip(labelling.parameter, axis_map.axes, strict=True):
        long = [name for name in group if labelling.sizes[name] > 1]
        if axis.placement is not None:
            if len(long) != 1:
                return None
            placements[long[0]] = axis.placement
            parts[long[0]] = axis.atoms
            continue
        sizes = axes.common_refinement(
            [labelling.sizes[name] for name in long], [atom.size for atom in axis.atoms]
        )
        if sizes is None:
            return None
        pieces: list[Part] = []
        pending = list(sizes)
        for atom in axis.atoms:
            mine = [pending.pop(0)]
            while math.prod(mine) < atom.size:
                mine.append(pending.pop(0))
            split[atom] = axes.split_atom(atom, mine)
            pieces += split[atom]
        for name in long:
            taken: list[Part] = []
            while _length(taken) < labelling.sizes[name]:
                taken.append(pieces.pop(0))
            parts[name] = tuple(taken)
    return parts, placements, axes.split_atoms(axis_map, split)


def _length(parts: Sequence[Part]) -> int:
    return math.prod(part.size for part in parts if isinstance(part, Atom))
