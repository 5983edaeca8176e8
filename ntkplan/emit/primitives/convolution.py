"""Printers of convolutions, alone or as a function that many of them call."""

from __future__ import annotations

from collections.abc import Sequence

from jax import lax

from ntkplan._jax import Primitive, primitives
from ntkplan.emit.expression import (
    INDENT,
    Expression,
    atom,
    call,
    indented,
    sequence,
    statement,
)
from ntkplan.emit.layout import WIDTH
from ntkplan.emit.primitives.context import Context, Printer
from ntkplan.emit.primitives.parameters import check_known, flags, precision_keywords
from ntkplan.emit.primitives.reduction import is_same_padding, padding_text
from ntkplan.emit.primitives.value import Value, aval_of, exact, integers, whole
from ntkplan.ir.equation import Equation

_SPATIAL = {0: "", 1: "W", 2: "HW", 3: "DHW"}
_EXTRAS = frozenset({"padding", "options"})
_TURNING_DOCSTRING = (
    '"""A convolution with a pull-back that is quick in loops on a CPU, too.',
    "",
    "Only kernels whose axes are in one order are given to a library there. JAX",
    "exchanges two of them to pull back, so `turned` exchanges them before.",
    '"""',
)
_PULL_BACK = (
    "straight.defvjp(",
    "    lambda x, kernel: (straight(x, kernel), jax.vjp(turned, x, kernel)[1]),",
    "    lambda pull_back, cotangent: pull_back(cotangent),",
    ")",
)


def _convolution(
    equation: Equation, operands: Sequence[Value], context: Context
) -> Value:
    parameters = equation.parameters
    dilations = ("lhs_dilation", "rhs_dilation")
    counts = ("feature_group_count", "batch_group_count")
    check_known(
        equation,
        "window_strides",
        "padding",
        "dimension_numbers",
        "precision",
        "preferred_element_type",
        *dilations,
        *counts,
    )
    numbers = parameters["dimension_numbers"]
    n_spatial = len(parameters["window_strides"])
    keywords = flags(
        {name: tuple(parameters[name]) for name in dilations},
        **dict.fromkeys(dilations, (1,) * n_spatial),
    )
    names = _layouts(numbers, n_spatial)
    layouts = sequence([f'"{name}"' for name in names])
    if names != _layouts_by_default(n_spatial):
        keywords["dimension_numbers"] = layouts
    keywords |= flags(parameters, **dict.fromkeys(counts, 1))
    keywords |= precision_keywords(equation)
    function = "lax.conv_general_dilated"
    needed = extras(equation)
    turns = context.module.turns_kernels
    offered = context.module.layouts.get(names, _EXTRAS if turns else None)
    if offered is not None and needed <= offered:
        keywords.pop("dimension_numbers", None)
        function = context.module.helper(
            ("convolution", layouts.text),
            "conv",
            lambda name: (
                _turning_helper(name, names, offered)
                if turns
                else _helper(name, layouts, offered)
            ),
        )
    arguments = [exact(operand) for operand in operands]
    arguments.append(integers(parameters["window_strides"]))
    if function.startswith("lax.") or "padding" in needed:
        arguments.append(_padding(equation))
    expression = call(function, *arguments, **keywords)
    return whole(expression, aval_of(equation.outputs[0]))


def convolution_layouts(
    equation: Equation, *, by_default: bool = False
) -> tuple[str, ...] | None:
    """The order of axes of a convolution, where it has to be said; else None.

    Args:
        equation: Any equation.
        by_default: Whether to say it also where it is that of JAX.
    """
    if equation.primitive is not primitives.conv_general_dilated_p:
        return None
    numbers = equation.parameters["dimension_numbers"]
    n_spatial = len(equation.parameters["window_strides"])
    layouts = _layouts(numbers, n_spatial)
    is_default = layouts == _layouts_by_default(n_spatial)
    return None if is_default and not by_default else layouts


def extras(equation: Equation) -> frozenset[str]:
    """Says what a convolution has beside strides: its own padding, options."""
    parameters = equation.parameters
    others = {
        *(x for name in ("lhs_dilation", "rhs_dilation") for x in parameters[name]),
        parameters["feature_group_count"],
        parameters["batch_group_count"],
    }
    found = {"options"} if others != {1} or precision_keywords(equation) else set()
    return frozenset(found | ({"padding"} if not _pads_to_same(equation) else set()))


def _helper(name: str, layouts: Expression, offered: frozenset[str]) -> str:
    """A convolution with an order of axes that many of a model's have."""
    given, options = _given(offered)
    padding = "padding" if "padding" in offered else '"SAME"'
    arguments = ["x", "kernel", "strides", padding, "dimension_numbers=axes", *options]
    value = call("lax.conv_general_dilated", *map(atom, arguments))
    lines = [
        f"def {name}({', '.join(given)}):",
        '    """A convolution whose axes are in this order."""',
        f"    axes = {layouts.text}",
        *indented(statement("return ", value, WIDTH)),
    ]
    return "\n".join(lines)


def _given(offered: frozenset[str]) -> tuple[list[str], list[str]]:
    """The parameters of a function for convolutions, and what takes options."""
    given = ["x", "kernel", "strides"]
    if "padding" in offered:
        given.append('padding="SAME"')
    options = ["**options"] if "options" in offered else []
    return [*given, *options], options


def _turning_helper(name: str, layouts: Sequence[str], offered: frozenset[str]) -> str:
    """Prints a convolution whose derivatives are quick in loops on a CPU, too.

    Compilers for CPUs give convolutions to a library whose axes are in one order. They
    bring others into it, but not in the body of a loop, where they run them many
    times slower. JAX's derivative by the input reads the kernel with inputs and
    outputs exchanged. Here they are exchanged before, and the derivative finds them in
    that order.

    Args:
        name: The function's name.
        layouts: Letters of the axes of input, kernel and output.
        offered: What it takes beside strides.
    """
    spatial = "".join(letter for letter in layouts[0] if letter not in "NC")
    wanted = (f"N{spatial}C", f"{spatial}IO", f"N{spatial}C")
    given, options = _given(offered)
    padding = "padding" if "padding" in offered else '"SAME"'
    first = len(spatial)
    arguments = [
        *("x", "kernel", "strides", padding),
        f'dimension_numbers=("{wanted[0]}", axes, "{wanted[0]}")',
        *options,
    ]
    convolved = call("lax.conv_general_dilated", *map(atom, arguments))
    moved = [
        _moved(*item)
        for item in zip(("x", "kernel"), layouts[:2], wanted[:2], strict=True)
    ]
    result = _moved(f"straight({', '.join(moved)})", wanted[2], layouts[2])
    body = [
        *_TURNING_DOCSTRING,
        "",
        "def convolve(x, kernel, axes):",
        *indented(statement("return ", convolved, WIDTH - len(INDENT))),
        "",
        "@jax.custom_vjp",
        "def straight(x, kernel):",
        f'{INDENT}return convolve(x, kernel, "{wanted[1]}")',
        "",
        "def turned(x, kernel):",
        f"{INDENT}kernel = kernel.swapaxes({first}, {first + 1})",
        f'{INDENT}return convolve(x, kernel, "{spatial}OI")',
        "",
        *_PULL_BACK,
        f"return {result}",
    ]
    return "\n".join([f"def {name}({', '.join(given)}):", *indented(body)])


def _moved(text: str, given: str, wanted: str) -> str:
    """Prints an array with its axes in another order, both by their letters."""
    if given == wanted:
        return text
    order = [given.index(letter) for letter in wanted]
    return f"{text}.transpose({', '.join(map(str, order))})"


def _layouts(numbers: lax.ConvDimensionNumbers, n_spatial: int) -> tuple[str, ...]:
    """The order of axes as letters, for input, weights and output."""
    spatial = _SPATIAL.get(n_spatial, "0123456789"[:n_spatial])

    def spell(spec: Sequence[int], first: str, second: str) -> str:
        letters = [""] * len(spec)
        for axis, letter in zip(spec, (first, second, *spatial), strict=True):
            letters[axis] = letter
        return "".join(letters)

    return (
        spell(numbers.lhs_spec, "N", "C"),
        spell(numbers.rhs_spec, "O", "I"),
        spell(numbers.out_spec, "N", "C"),
    )


def _layouts_by_default(n_spatial: int) -> tuple[str, ...]:
    order = tuple(range(n_spatial + 2))
    return _layouts(lax.ConvDimensionNumbers(order, order, order), n_spatial)


def _padding(equation: Equation) -> Expression:
    """Padding as a word where one says exactly the same."""
    padding = [(int(low), int(high)) for low, high in equation.parameters["padding"]]
    if any(map(any, padding)) and _pads_to_same(equation):
        return atom('"SAME"')
    return padding_text(padding)


def _pads_to_same(equation: Equation) -> bool:
    """Says whether `"SAME"` stands for the padding, as it may where there is none."""
    parameters = equation.parameters
    numbers = parameters["dimension_numbers"]
    if set(parameters["lhs_dilation"]) != {1}:
        return False
    given, weights = (aval_of(item).shape for item in equation.inputs)
    sizes = [given[axis] for axis in numbers.lhs_spec[2:]]
    kernel = [weights[axis] for axis in numbers.rhs_spec[2:]]
    window = [
        (size - 1) * step + 1
        for size, step in zip(kernel, parameters["rhs_dilation"], strict=True)
    ]
    return is_same_padding(
        parameters["padding"], sizes, window, parameters["window_strides"]
    )


PRINTERS: dict[Primitive, Printer] = {primitives.conv_general_dilated_p: _convolution}
