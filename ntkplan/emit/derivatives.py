"""The emitted function that pulls the output basis back to the taps."""

from __future__ import annotations

from ntkplan.emit.cotangents import all_plain, cotangent_lines
from ntkplan.emit.draft import IN_ORDER
from ntkplan.emit.expression import (
    INDENT,
    atom,
    call,
    indented,
    statement,
)
from ntkplan.emit.layout import WIDTH
from ntkplan.emit.output_basis import basis_lines, group_sizes
from ntkplan.ir.program import Program


def derivative_lines(program: Program) -> list[str]:
    """Prints the function that pulls the output basis back to the taps."""
    of = "the batch" if program.batch_axis is None else "one example"
    basis = ", basis" if program.tiles_outputs else ""
    lines = [
        f"def derivatives(params, x{basis}):",
        f'{INDENT}"""Activations and cotangents, d output / d tap, of {of}."""',
    ]
    pulled = [tap for tap in program.taps if tap.place not in program.tangents]
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
    if program.tangents or not all_plain(program):
        lines += indented(cotangent_lines(program))
    cotangents = "cotangents"
    if program.orders_axes:
        cotangents = f"jax.tree.map({IN_ORDER}, cotangents)"
    returned = ["activations" if program.records or program.factors else "{}"]
    returned += [cotangents, *["factors"] * bool(program.factors)]
    return [*lines, f"{INDENT}return {', '.join(returned)}"]


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
