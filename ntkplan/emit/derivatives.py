"""The emitted function that pulls the output basis back to the taps."""

from __future__ import annotations

from collections.abc import Sequence

from ntkplan.emit.expression import (
    INDENT,
    Expression,
    atom,
    call,
    indented,
    method,
    statement,
)
from ntkplan.emit.expression import sequence as bracketed
from ntkplan.emit.forward import cropped
from ntkplan.emit.taps import WIDTH, dictionary
from ntkplan.ir.kernel import KernelSpec
from ntkplan.ir.program import Cotangent, Program


def derivative_lines(program: Program) -> list[str]:
    """Prints the function that pulls the output basis back to the taps."""
    of = "the batch" if program.batch_axis is None else "one example"
    basis = ", basis" if program.tiles_outputs else ""
    lines = [
        f"def derivatives(params, x{basis}):",
        f'{INDENT}"""Activations and cotangents, d output / d tap, of {of}."""',
    ]
    pulled = [tap for tap in program.taps if tap.key not in program.tangents]
    if pulled or not program.tangents:
        lines.append(f"{INDENT}taps = zero_taps()")
    if program.tangents:
        lines.append(f"{INDENT}tangents = zero_tangents()")
    if program.shifts:
        lines.append(f"{INDENT}shifts = zero_shifts()")
    if pulled or not program.tangents:
        lines += indented(_vjp_lines(program))
        lines += indented(_pull_lines(program))
    if program.tangents:
        lines += indented(_push_lines(program, pulls=bool(pulled)))
    plain = all(
        len(item.taps) == 1
        and item.key == item.taps[0]
        and item.crop is None
        and _tap_shape(program, item)
        for item in program.cotangents
    ) and len(program.cotangents) == len(program.taps)
    if program.tangents or not plain:
        lines += indented(_cotangent_table(program))
    returned = "activations, cotangents" if program.records else "{}, cotangents"
    if program.factors:
        returned = "activations, cotangents, factors"
    return [*lines, f"{INDENT}return {returned}"]


def _forward_call(program: Program, taps: str) -> str:
    shifts = ", shifts" if program.shifts else ""
    return f"forward(params, x, {taps}{shifts})"


def _vjp_lines(program: Program) -> list[str]:
    taps = "taps | tangents" if program.tangents else "taps"
    function = f"lambda taps: {_forward_call(program, taps)}"
    if not program.records and not program.factors:
        value = call("jax.vjp", atom(function), atom("taps"))
        return statement("_, pull_back = ", value, WIDTH)
    value = call("jax.vjp", atom(function), atom("taps"), has_aux="True")
    kept = "(activations, factors)" if program.factors else "activations"
    return statement(f"_, pull_back, {kept} = ", value, WIDTH)


def _push_lines(program: Program, *, pulls: bool) -> list[str]:
    """Prints the Jacobians of the leaves whose tangents are pushed forward."""
    taps = "taps | tangents" if pulls else "tangents"
    first = "[0]" if program.records or program.factors else ""
    function = f"lambda tangents: {_forward_call(program, taps)}{first}"
    pushed = call("jax.jacfwd", atom(function)).text
    if len(pushed) < WIDTH - 30:
        return [f"jacobians = {pushed}(tangents)"]
    return [
        *statement("outputs = ", atom(function), WIDTH),
        "jacobians = jax.jacfwd(outputs)(tangents)",
    ]


def _in_basis(program: Program, key: str, shape: Sequence[int]) -> Expression:
    """Returns a leaf's Jacobian, its outputs grouped as those of cotangents are."""
    spec, value = program.spec, atom(f'jacobians["{key}"]')
    if program.tiles_outputs:
        return call("jnp.tensordot", atom("basis"), value, atom("1"))
    order = (*spec.diagonal_axes, *spec.trace_axes, *spec.full_axes)
    sizes = group_sizes(spec)
    if len(sizes) == 1 and list(order) == sorted(order):
        return value
    value = method(value, "reshape", *map(str, (*spec.output_shape, *shape)))
    if list(order) != sorted(order):
        rest = range(len(order), len(order) + len(shape))
        value = method(value, "transpose", *map(str, (*order, *rest)))
    return method(value, "reshape", *map(str, (*sizes, *shape)))


def _tap_shape(program: Program, item: Cotangent) -> bool:
    shapes = {tap.key: tap.shape for tap in program.taps}
    return shapes[item.taps[0]] == item.shape


def _pull_lines(program: Program) -> list[str]:
    """Prints the pull-back of the basis; groups of one vector have no axis."""
    spec, dtype = program.spec, f"jnp.{program.graph.output.dtype}"
    n_outputs = spec.group_size(tuple(range(len(spec.output_shape))))
    if program.tiles_outputs:
        return statement(
            "(cotangents,) = ", call("jax.vmap(pull_back)", atom("basis")), WIDTH
        )
    if spec.sums_logits:
        scale = repr(n_outputs**-0.5)
        vector = call("jnp.full", atom(str(n_outputs)), atom(scale), atom(dtype))
        return statement("(cotangents,) = ", call("pull_back", vector), WIDTH)
    if spec.n_basis == 1:
        vector = call("jnp.ones", atom("1"), atom(dtype))
        return statement("(cotangents,) = ", call("pull_back", vector), WIDTH)
    lines, basis = basis_lines(program)
    mapped = "pull_back"
    for _ in group_sizes(spec):
        mapped = f"jax.vmap({mapped})"
    return [*lines, *statement("(cotangents,) = ", call(mapped, basis), WIDTH)]


def group_sizes(spec: KernelSpec) -> list[int]:
    """Returns the sizes of the groups of basis vectors that have an axis."""
    sizes = (spec.n_diagonal, spec.n_trace, spec.n_full)
    return [] if spec.sums_logits else [size for size in sizes if size > 1]


def basis_lines(program: Program) -> tuple[list[str], Expression]:
    """Prints the output basis, `[*groups, outputs]`, and returns what holds it."""
    spec = program.spec
    n_outputs = spec.group_size(tuple(range(len(spec.output_shape))))
    lines: list[str] = []
    basis = call(
        "jnp.eye", atom(str(n_outputs)), dtype=f"jnp.{program.graph.output.dtype}"
    )
    order = (*spec.diagonal_axes, *spec.trace_axes, *spec.full_axes)
    sizes = group_sizes(spec)
    if len(sizes) > 1 or list(order) != sorted(order):
        rank = len(spec.output_shape)
        shaped = method(basis, "reshape", *map(str, (*spec.output_shape, n_outputs)))
        if list(order) != sorted(order):
            shaped = method(shaped, "transpose", *map(str, (*order, rank)))
        lines += statement("basis = ", shaped, WIDTH)
        lines += statement(
            "basis = ",
            method(atom("basis"), "reshape", *map(str, (*sizes, n_outputs))),
            WIDTH,
        )
        basis = atom("basis")
    return lines, basis


def _cotangent_table(program: Program) -> list[str]:
    """Prints cotangents with one axis for each label, stacked for several uses."""
    lead = [-1] if program.tiles_outputs else group_sizes(program.spec)
    shapes = {tap.key: tap.shape for tap in program.taps}
    entries: list[tuple[str, Expression]] = []
    for item in program.cotangents:
        parts: list[Expression] = []
        for key in item.taps:
            shape = shapes[key]
            part = atom(f'cotangents["{key}"]')
            if key in program.tangents:
                part = _in_basis(program, key, shape)
            if item.crop is not None:
                if shape != item.crop.shape:
                    part = method(part, "reshape", *map(str, (*lead, *item.crop.shape)))
                part = cropped(part, item.crop, lead=len(lead))
                shape = tuple(len(range(*bounds)) for bounds in item.crop.slices)
            if shape != item.shape:
                part = method(part, "reshape", *map(str, (*lead, *item.shape)))
            parts.append(part)
        value = parts[0]
        if len(parts) > 1:
            stacked = bracketed(parts, brackets="[]")
            value = call("jnp.stack", stacked, atom(f"axis={len(lead)}"))
        entries.append((item.key, value))
    table = dictionary(entries)
    return statement("cotangents = ", table, WIDTH)
