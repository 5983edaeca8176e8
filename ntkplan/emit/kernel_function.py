"""The emitted kernel function, and the NTK-vector products of pushed leaves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ntkplan.emit.blocks import block_lines, unpacked_sides
from ntkplan.emit.calls import Call
from ntkplan.emit.expression import (
    INDENT,
    atom,
    binary,
    call,
    indented,
    method,
    statement,
)
from ntkplan.emit.layout import WIDTH
from ntkplan.emit.precision import jit_lines
from ntkplan.emit.remarks import comment_lines
from ntkplan.emit.sides import side_lines
from ntkplan.emit.zero_taps import zero_taps
from ntkplan.ir.kernel import KernelSpec
from ntkplan.ir.program import Program
from ntkplan.methods.network import DIAGONAL, EXAMPLES, FULL


def kernel_lines(program: Program, calls: Sequence[Call]) -> list[str]:
    """Prints `kernel(params, x1, x2=None)`."""
    lines = [*jit_lines(program.precision), "def kernel(params, x1, x2=None):"]
    lines.append(f'{INDENT}"""Returns the kernel, {program.spec.describe()}."""')
    body = list(program.prelude)
    if program.spec.whole_batch:
        body += [
            "x1 = jax.tree.map(lambda array: array[None], x1)",
            "x2 = None if x2 is None else jax.tree.map(lambda array: array[None], x2)",
        ]
    if program.blocks:
        blocks = block_lines(program, calls)
        body += [*side_lines(program), *unpacked_sides(blocks), *blocks]
    returned = result_lines(program)
    if program.shifts:
        body += ["", *comment_lines(program.pushed_comments, WIDTH)]
        pushed = "pushed(params, x1, x1 if x2 is None else x2)"
        if not program.blocks and returned == ["return theta"]:
            return [*lines, *indented([*body, f"return {pushed}"])]
        body.append(f"theta {'+=' if program.blocks else '='} {pushed}")
    body += ["", *returned]
    return [*lines, *indented(body)]


def block_function(
    program: Program, calls: Sequence[Call], *, in_loop: bool
) -> list[str]:
    """Prints `kernel_block(side1, side2)`, the kernel of some examples with others."""
    factors = ", factors" if program.factors else ""
    barrier = [
        "# What is made of one side alone would else be kept for all of a row's tiles.",
        "side1, side2 = jax.lax.optimization_barrier((side1, side2))",
    ]
    blocks = block_lines(program, calls)
    body = [
        '"""Returns the kernel of some examples with others."""',
        *(barrier if in_loop else []),
        *unpacked_sides(blocks),
        *blocks,
        "return theta",
    ]
    return [f"def kernel_block(side1, side2{factors}):", *indented(body)]


def result_lines(program: Program) -> list[str]:
    """Brings `theta` from its summing order into the order that users know."""
    spec = program.spec
    labels = program.kernel_labels
    scale = 1.0 if spec.sums_logits else 1.0 / spec.n_trace
    value = atom("theta")
    if scale != 1.0:
        value = binary("/", value, atom(str(spec.n_trace)))
    examples = ["n1", "n2"][: 1 if spec.matched else 2]
    shape, order = _expanded(spec, labels)
    if spec.whole_batch:
        sizes = [str(size) for size in shape if size != "n"]
        order = _without_examples(shape, order)
        shaped = method(value, "reshape", *sizes) if sizes else value
        value = (
            shaped
            if order == sorted(order)
            else method(shaped, "transpose", *map(str, order))
        )
        return statement("return ", value, WIDTH)
    if len(shape) != len(labels):
        counts = iter(_example_counts(labels, examples))
        sizes = [next(counts) if size == "n" else str(size) for size in shape]
        value = method(value, "reshape", *sizes)
    if order != sorted(order):
        value = method(value, "transpose", *map(str, order))
    return statement("return ", value, WIDTH)


def _example_counts(labels: Sequence[str], examples: Sequence[str]) -> list[str]:
    """Returns text for the number of examples, read from `theta` itself."""
    positions = [i for i, label in enumerate(labels) if label in EXAMPLES]
    return [f"theta.shape[{position}]" for position in positions[: len(examples)]]


def _expanded(
    spec: KernelSpec, labels: Sequence[str]
) -> tuple[list[int | str], list[int]]:
    """Splits the basis axes of `theta` into output axes, and says how to order them.

    Returns:
        The shape of `theta` with one axis for every output axis (`"n"` for examples),
        and the permutation that leads to the kernel's own order.
    """
    shape: list[int | str] = []
    axes: list[tuple[str, int]] = []

    def add(kind: str, output_axes: Sequence[int]) -> None:
        for axis in output_axes:
            shape.append(spec.output_shape[axis])
            axes.append((kind, axis))

    def examples(label: str) -> None:
        shape.append("n")
        axes.append((label, -1))

    full = () if spec.sums_logits else spec.full_axes
    diagonal = () if spec.sums_logits else spec.diagonal_axes
    if spec.n_diagonal > 1 or DIAGONAL in labels:
        add(DIAGONAL, diagonal)
    examples(EXAMPLES[0])
    add(FULL[0], full)
    if not spec.matched:
        examples(EXAMPLES[1])
    add(FULL[1], full)
    if DIAGONAL not in labels and spec.n_diagonal == 1:
        add(DIAGONAL, diagonal)
    wanted: list[tuple[str, int]] = [(EXAMPLES[0], -1)]
    if not spec.matched:
        wanted.append((EXAMPLES[1], -1))
    for axis in range(len(spec.output_shape)):
        if axis in full:
            wanted += [(FULL[0], axis), (FULL[1], axis)]
        elif axis in diagonal:
            wanted.append((DIAGONAL, axis))
    return shape, [axes.index(item) for item in wanted]


def _without_examples(shape: Sequence[int | str], order: Sequence[int]) -> list[int]:
    """Drops the unit example axes from a permutation."""
    kept = [axis for axis, size in enumerate(shape) if size != "n"]
    return [kept.index(axis) for axis in order if axis in kept]


def pushed_lines(program: Program) -> list[str]:
    """Prints the NTK-vector products of all pushed leaves together.

    For one example of x2 the rows of the basis are pulled back to tangents of the
    leaves, and each tangent is pushed forward at every example of x1.
    """
    dtype = f"jnp.{program.graph.output.dtype}"
    taps = "taps, " if program.taps else ""
    first = "[0]" if program.records or program.factors else ""
    lines = [
        "def pushed(params, x1, x2):",
        f'{INDENT}"""NTK-vector products: pull back at x2, push forward at x1."""',
    ]
    body: list[str] = []
    if program.taps:
        body.append(f"taps = {zero_taps(program)}")
    body.append("shifts = zero_shifts()")
    body += _basis_lines(program.spec, dtype)
    body += [
        "",
        "def outputs(x):",
        f"{INDENT}return lambda shifts: forward(params, x, {taps}shifts){first}",
        "",
        "def columns(x, push):",
        f"{INDENT}_, pull_back = jax.vjp(outputs(x), shifts)",
        *_column_lines(program.spec),
        "",
    ]
    body += _matched_parts(program) if program.spec.matched else _all_parts(program)
    return [*lines, *indented(body)]


def _all_rows_meet(spec: KernelSpec) -> bool:
    """Says whether every output meets every other, so that nothing is projected."""
    return not spec.sums_logits and spec.n_diagonal * spec.n_trace == 1


def _column_lines(spec: KernelSpec) -> list[str]:
    """Prints the columns of one example; a row meets the rows of its own block only."""
    if _all_rows_meet(spec):
        return [f"{INDENT}return jax.lax.map(lambda row: push(*pull_back(row)), basis)"]
    return [
        "",
        f"{INDENT}def rows_that_meet(rows):",
        f"{INDENT * 2}project = lambda row: push(*pull_back(row)) @ rows.T",
        f"{INDENT * 2}return jax.lax.map(project, rows)",
        "",
        f"{INDENT}return jax.lax.map(rows_that_meet, basis)",
    ]


def _basis_lines(spec: KernelSpec, dtype: str) -> list[str]:
    """Prints the basis as [rows that meet only themselves, rows that meet, outputs]."""
    n_outputs = math.prod(spec.output_shape)
    if spec.sums_logits:
        value = call(
            "jnp.full",
            atom(f"(1, 1, {n_outputs})"),
            atom(repr(n_outputs**-0.5)),
            atom(dtype),
        )
        return statement("basis = ", value, WIDTH)
    order = (*spec.diagonal_axes, *spec.trace_axes, *spec.full_axes)
    value = call("jnp.eye", atom(str(n_outputs)), dtype=dtype)
    if list(order) != sorted(order):
        value = method(value, "reshape", *map(str, (*spec.output_shape, n_outputs)))
        value = method(value, "transpose", *map(str, (*order, len(order))))
    if _all_rows_meet(spec):
        return statement("basis = ", value, WIDTH)
    alone = spec.n_diagonal * spec.n_trace
    value = method(value, "reshape", str(alone), str(spec.n_full), str(n_outputs))
    return statement("basis = ", value, WIDTH)


def _pushed_axis(program: Program) -> int | None:
    """Returns the example axis of what `pushed` is given; tiles have it first."""
    moved = program.spec.whole_batch or program.tiling is not None
    return 0 if moved else program.batch_axis


def _moved(program: Program, text: str) -> str:
    """Brings the example axis of every array to the front."""
    axis = _pushed_axis(program)
    if axis == 0:
        return text
    return f"jax.tree.map(lambda array: jnp.moveaxis(array, {axis}, 0), {text})"


def _matched_parts(program: Program) -> list[str]:
    """Prints the products of each example of x1 with its partner in x2."""
    linear = "jax.linearize(outputs(pair[0]), shifts)[1]"
    pairs = atom(_moved(program, "(x1, x2)"))
    value = call("jax.lax.map", atom("one_pair"), pairs)
    lines = [
        "def one_pair(pair):",
        f"{INDENT}return columns(pair[1], {linear})",
        "",
        *statement("parts = ", value, WIDTH),
    ]
    letters = {DIAGONAL: "d", EXAMPLES[0]: "m", FULL[0]: "o", FULL[1]: "p"}
    return [*lines, *_summed(program, ["-1"], "m", [], "", letters)]


def _all_parts(program: Program) -> list[str]:
    """Prints the products of every example of x1 with every example of x2."""
    axis = _pushed_axis(program)
    suffix = "" if axis == 0 else f", {axis}"
    mapped = f"jax.vmap(lambda x: outputs(x)(shifts){suffix})(x1)"
    linear = call("jax.linearize", atom(f"lambda shifts: {mapped}"), atom("shifts"))
    lines = statement("_, push = ", linear, WIDTH)
    examples = atom(_moved(program, "x2"))
    value = call("jax.lax.map", atom("lambda x: columns(x, push)"), examples)
    lines += statement("parts = ", value, WIDTH)
    letters = {
        DIAGONAL: "d",
        EXAMPLES[0]: "n",
        FULL[0]: "o",
        EXAMPLES[1]: "m",
        FULL[1]: "p",
    }
    return [*lines, *_summed(program, ["parts.shape[0]"], "m", ["-1"], "n", letters)]


def _cast(program: Program) -> str:
    return "" if program.sums_dtype is None else f".astype(jnp.{program.sums_dtype})"


def _summed(
    program: Program,
    outer: list[str],
    outer_letter: str,
    inner: list[str],
    inner_letter: str,
    letters: Mapping[str, str],
) -> list[str]:
    """Sums over the trace group, drops groups of one vector, and orders the axes."""
    spec = program.spec
    n_full = str(spec.n_full)
    target = "".join(letters[label] for label in program.kernel_labels)
    groups = {"d": spec.n_diagonal, "r": spec.n_trace}
    kept = [name for name in groups if groups[name] > 1 or name in target]
    sizes = [*outer, *(str(groups[name]) for name in kept), n_full, *inner, n_full]
    value = method(atom("parts"), "reshape", *sizes)
    source = f"{outer_letter}{''.join(kept)}p{inner_letter}o"
    # Where outputs have one axis the columns have just these.
    is_shaped = _all_rows_meet(spec) and len(spec.output_shape) == 1
    return [
        *([] if is_shaped else statement("parts = ", value, WIDTH)),
        f'return jnp.einsum("{source}->{target}", parts{_cast(program)})',
    ]
