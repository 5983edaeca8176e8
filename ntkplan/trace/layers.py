"""From leaves to layers: every leaf with all its uses."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from ntkplan._jax import Var, array_dtype, array_shape, primitives
from ntkplan.ir.equation import Equation
from ntkplan.ir.graph import KernelGraph, Leaf
from ntkplan.ir.use import Layer, Stack, Use
from ntkplan.rules import axes
from ntkplan.rules.axes import Atom, AxisMap
from ntkplan.rules.labelling import Labelling
from ntkplan.rules.prefix import PREFIX_RULES
from ntkplan.rules.table import USE_RULES
from ntkplan.trace.derivatives import passes_no_derivative, without_forward_mode


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Uncovered:
    """Why a leaf is opaque."""

    reason: str


def find_layers(graph: KernelGraph) -> tuple[Layer, ...]:
    """Returns a layer for every differentiated leaf, in the order of `params`."""
    live = graph.upstream(
        variable for variable in graph.body.outputs if isinstance(variable, Var)
    )
    layers = [
        dataclasses.replace(
            _layer(graph, leaf, live), no_forward=without_forward_mode(graph, leaf)
        )
        for leaf in graph.leaves
        if leaf.differentiated
    ]
    return _numbered(layers)


def _numbered(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """Numbers the arrays that stacks need, so that equal ones are computed once."""
    cotangents: dict[object, int] = {}
    activations: dict[object, int] = {}

    def numbered(stack: Stack) -> Stack:
        taps = tuple(use.tap for use in stack.uses)
        recorded = tuple(use.recorded for use in stack.uses)
        patches = stack.first.patches
        order = None if patches is None else patches.order
        data = (recorded, order, stack.recorded_shape)
        return dataclasses.replace(
            stack,
            cotangents_id=cotangents.setdefault(
                (taps, stack.value_shape), len(cotangents)
            ),
            activations_id=-1
            if stack.first.recorded is None
            else activations.setdefault(data, len(activations)),
        )

    return tuple(
        dataclasses.replace(layer, stacks=tuple(map(numbered, layer.stacks)))
        for layer in layers
    )


def _layer(graph: KernelGraph, leaf: Leaf, live: frozenset[Var]) -> Layer:
    if leaf.variable not in live and not graph.is_output(leaf.variable):
        return Layer(leaf=leaf, stacks=(), idle=True)
    uses = _find_uses(graph, leaf)
    if isinstance(uses, _Uncovered):
        return opaque_layer(leaf, uses.reason)
    if not uses:
        return Layer(leaf=leaf, stacks=(), idle=True)
    refined = _refined(uses)
    if refined is None:
        return opaque_layer(leaf, "its uses split an axis in ways that cut each other")
    return Layer(leaf=leaf, stacks=_stacked(refined))


def opaque_layer(leaf: Leaf, reason: str) -> Layer:
    """Returns the layer whose one use is a tap on the leaf itself."""
    axis_map = axes.identity(leaf.shape)
    labels = tuple(_label(atom) for atoms in axis_map.axes for atom in atoms)
    sizes = {_label(atom): atom.size for atoms in axis_map.axes for atom in atoms}
    use = Use(
        rule="opaque",
        equation=-1,
        operand=-1,
        tap=leaf.variable,
        value=labels,
        recorded=None,
        activations=(),
        patches=None,
        parameter=labels,
        sizes=sizes,
        factor=1.0,
    )
    return Layer(leaf=leaf, stacks=(Stack(uses=(use,)),), opaque=reason)


def _find_uses(graph: KernelGraph, leaf: Leaf) -> list[Use] | _Uncovered:
    """Follows a leaf through its prefixes to the equations that use it."""
    uses: list[Use] = []
    pending: list[tuple[Var, AxisMap]] = [(leaf.variable, axes.identity(leaf.shape))]
    while pending:
        variable, axis_map = pending.pop(0)
        if graph.is_output(variable):
            return _Uncovered(reason="the model returns it")
        for number, operand in graph.consumers(variable):
            equation = graph.body.equations[number]
            if passes_no_derivative(equation):
                continue
            carried = _carried(equation, operand, axis_map)
            if carried is not None:
                pending.append((equation.outputs[0], carried))
                continue
            use = _use(graph, leaf, number, operand, axis_map)
            if use is None:
                where = "" if equation.source is None else f" at {equation.source}"
                name = equation.primitive.name
                return _Uncovered(reason=f"no rule for `{name}`{where}")
            uses.append(use)
    return sorted(uses, key=lambda use: use.equation)


def _carried(equation: Equation, operand: int, axis_map: AxisMap) -> AxisMap | None:
    rule = PREFIX_RULES.get(equation.primitive)
    return None if rule is None else rule(equation, operand, axis_map)


def _use(
    graph: KernelGraph, leaf: Leaf, number: int, operand: int, axis_map: AxisMap
) -> Use | None:
    equation = graph.body.equations[number]
    rule = USE_RULES.get(equation.primitive)
    labelling = None if rule is None else rule(equation, operand)
    if labelling is None:
        return None
    substitution = _substitution(labelling, axis_map)
    if substitution is None:
        return None
    labels, sizes = substitution
    recorded = None
    if labelling.data_operand is not None:
        recorded = equation.inputs[labelling.data_operand]
        if not isinstance(recorded, Var):
            return None
    atoms = sorted(
        {atom for atoms in labels.values() for atom in atoms if isinstance(atom, Atom)},
        key=lambda atom: (atom.axis, -atom.stride),
    )
    parameter = tuple(_label(atom) for atom in atoms if atom.axis >= 0)
    if math.prod(sizes[label] for label in parameter) != leaf.size:
        return None

    def flat(groups: Sequence[Sequence[str]]) -> tuple[str, ...]:
        return tuple(
            _label(part)
            for group in groups
            for label in group
            for part in labels[label]
        )

    return Use(
        rule=labelling.rule,
        equation=number,
        operand=operand,
        tap=_sunk_tap(graph, equation.outputs[0]),
        value=flat(labelling.value),
        recorded=recorded,
        activations=flat(labelling.activations),
        patches=labelling.patches,
        parameter=parameter,
        sizes=sizes,
        factor=labelling.factor * axis_map.factor,
    )


def _label(part: Atom | str) -> str:
    if isinstance(part, str):
        return part
    kind = "parameter" if part.axis >= 0 else "broadcast"
    return f"{kind}{part.axis}_{part.stride}_{part.size}"


def _substitution(
    labelling: Labelling, axis_map: AxisMap
) -> tuple[dict[str, tuple[Atom | str, ...]], dict[str, int]] | None:
    """Expresses the rule's labels in the leaf's atoms.

    Returns:
        What stands for each of the rule's labels (nothing for one of length one), and
        the length of every new label; None where an axis cannot be split to fit.
    """
    parts: dict[str, tuple[Atom | str, ...]] = {
        label: (label,) if size > 1 else () for label, size in labelling.sizes.items()
    }
    for position, (group, atoms) in enumerate(
        zip(labelling.parameter, axis_map.axes, strict=True)
    ):
        long = [label for label in group if labelling.sizes[label] > 1]
        split = axes.common_refinement(
            [labelling.sizes[label] for label in long], [atom.size for atom in atoms]
        )
        if split is None:
            return None
        pieces = _split_atoms(atoms, split, position)
        for label in long:
            taken: list[Atom | str] = []
            while math.prod(piece.size for piece in taken) < labelling.sizes[label]:  # pyright: ignore[reportAttributeAccessIssue]
                taken.append(pieces.pop(0))
            parts[label] = tuple(taken)
    sizes = {
        _label(part): labelling.sizes[label] if isinstance(part, str) else part.size
        for label, many in parts.items()
        for part in many
    }
    return parts, sizes


def _split_atoms(
    atoms: Sequence[Atom], sizes: Sequence[int], position: int
) -> list[Atom]:
    """Splits the atoms of one axis so that they have the given sizes.

    A piece of a broadcast axis is told apart from others by a stride that counts
    operand axes, since the leaf has no axis for it.
    """
    pieces: list[Atom] = []
    pending = list(sizes)
    for atom in atoms:
        left = atom.size
        while left > 1:
            size = pending.pop(0)
            left //= size
            piece = dataclasses.replace(atom, stride=atom.stride * left, size=size)
            if atom.axis < 0:
                piece = dataclasses.replace(
                    piece, axis=-1 - position, stride=len(pieces) + 1
                )
            pieces.append(piece)
    return pieces


# Sums pass a cotangent on unchanged, so a tap may stand after them.
_CARRIES_COTANGENT = {
    primitives.add_p: (0, 1),
    primitives.add_jaxvals_p: (0, 1),
    primitives.sub_p: (0,),
}


def _sunk_tap(graph: KernelGraph, variable: Var) -> Var:
    """Moves a tap forward through sums while that leaves its cotangent the same.

    A matrix product and the bias added to it then share one tap.
    """
    while True:
        consumers = graph.consumers(variable)
        if len(consumers) != 1 or graph.is_output(variable):
            return variable
        number, operand = consumers[0]
        equation = graph.body.equations[number]
        if operand not in _CARRIES_COTANGENT.get(equation.primitive, ()):
            return variable
        (result,) = equation.outputs
        if array_shape(result) != array_shape(variable):
            return variable
        if array_dtype(result) != array_dtype(variable):
            return variable
        variable = result


def _refined(uses: Sequence[Use]) -> list[Use] | None:
    """Splits the parameter labels of all uses of a leaf until they are the same."""
    first = uses[0].parameter
    if all(use.parameter == first for use in uses):
        return list(uses)
    return None


def _stacked(uses: Sequence[Use]) -> tuple[Stack, ...]:
    """Puts uses of one form together; one recorded variable cannot be patched twice."""
    groups: dict[tuple[object, ...], list[Use]] = {}
    for use in uses:
        groups.setdefault((*use.form, array_shape(use.tap)), []).append(use)
    return tuple(Stack(uses=tuple(group)) for group in groups.values())
