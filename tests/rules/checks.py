"""Rules against the dense Jacobian of the primitive, forward and reverse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ntkplan._jax import Primitive, array_shape
from ntkplan.ir.equation import Equation
from ntkplan.rules import axes
from ntkplan.rules.axes import Absent, AxisMap
from ntkplan.rules.labelling import Labelling
from ntkplan.rules.prefix import carry
from ntkplan.rules.table import label
from tests.oracles import x64
from tests.rules.dense import labelled_jacobian, mapped_jacobian
from tests.rules.traced import Traced, both_jacobians

TOLERANCE = 1e-12


def check_labels(
    primitive: Primitive,
    operand: int,
    function: Callable[..., Any],
    *arguments: Any,
) -> Labelling:
    """Checks the labels of one operand of one equation; returns them.

    Args:
        primitive: That of the equation, the only one in the function.
        operand: The parameter.
        function: Holds the equation.
        arguments: Given to the function.

    Raises:
        AssertionError: The rule has no labels, or they are not those of the Jacobian.
    """
    traced = Traced(function, *arguments)
    number = traced.number(primitive)
    with x64():
        labelling = label(traced.step(number, operand))
    assert labelling is not None, f"no labels of operand {operand} of `{primitive}`"
    equation = traced.body.equations[number]
    got = labelled_jacobian(
        labelling,
        array_shape(equation.outputs[0]),
        array_shape(equation.inputs[operand]),
        traced.value,
    )
    for wanted in traced.jacobians(number, operand):
        assert_close(got, wanted)
    return labelling


def labels(
    primitive: Primitive, operand: int, function: Callable[..., Any], *arguments: Any
) -> Labelling | None:
    """Returns the labels of one operand, unchecked, or None."""
    traced = Traced(function, *arguments)
    with x64():
        return label(traced.step(traced.number(primitive), operand))


def assert_close(got: np.ndarray, wanted: np.ndarray) -> None:
    """Compares two Jacobians, relative to the largest entry that is wanted."""
    assert got.shape == wanted.shape
    scale = max(1.0, float(np.max(np.abs(wanted), initial=0.0)))
    assert float(np.max(np.abs(got - wanted), initial=0.0)) <= TOLERANCE * scale


class OpaqueError(Exception):
    """A prefix that no map can be carried through."""

    def __init__(self, equation: Equation) -> None:
        super().__init__(equation.primitive.name)


def carried_maps(traced: Traced, *, whole: bool = False) -> list[AxisMap]:
    """Carries a leaf, the first argument, through all equations to the result.

    Returns:
        A map for every way through; the array is their sum.

    Raises:
        OpaqueError: An equation stops it.
    """
    leaf = traced.body.inputs[0]
    maps: dict[Any, list[AxisMap]] = {leaf: [axes.identity(array_shape(leaf))]}
    for number, equation in enumerate(traced.body.equations):
        for operand, atom in enumerate(equation.inputs):
            for axis_map in maps.get(atom, ()) if atom in equation.reads else ():
                step = traced.step(number, operand, whole=whole)
                with x64():
                    result = carry(step, axis_map)
                if result is None:
                    raise OpaqueError(equation)
                if isinstance(result, Absent):
                    continue
                assert result.shape == array_shape(equation.outputs[0])
                maps.setdefault(equation.outputs[0], []).append(result)
    return maps.get(traced.body.outputs[0], [])


def check_prefix(
    function: Callable[..., Any], leaf: Any, *others: Any, whole: bool = False
) -> list[AxisMap]:
    """Checks the maps of a prefix against its Jacobian; returns them.

    Args:
        function: The prefix, of the leaf and of data-free arrays.
        leaf: The leaf.
        others: The data-free arrays.
        whole: Whether slices are look-ups of the whole leaf.

    Raises:
        AssertionError: The maps are not those of the Jacobian.
        OpaqueError: A rule gave none.
    """
    traced = Traced(function, leaf, *others)
    maps = carried_maps(traced, whole=whole)
    (output,) = traced.body.outputs
    shape = (*array_shape(output), *np.shape(leaf))
    got = sum(
        (mapped_jacobian(each, np.shape(leaf), traced.value) for each in maps),
        start=np.zeros(shape),
    )
    operands = [traced.values[variable] for variable in traced.body.inputs]
    for wanted in both_jacobians(lambda value: function(value, *operands[1:]), leaf):
        assert_close(got, wanted)
    return maps
