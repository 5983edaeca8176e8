"""Printers of decompositions, linear solves and Fourier transforms."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jax import lax

from ntkplan._jax import Primitive, primitives
from ntkplan.emit.expression import Expression, atom, call, sequence
from ntkplan.emit.primitives.context import (
    Context,
    Group,
    Printer,
    Result,
    Signature,
    tuple_target,
)
from ntkplan.emit.primitives.parameters import check_known, enum_text, flags
from ntkplan.emit.primitives.value import (
    Unpacked,
    Value,
    aval_of,
    exact,
    integers,
    whole,
)
from ntkplan.errors import NotPrintableError
from ntkplan.ir.equation import Equation
from ntkplan.trace.jaxpr import flatten

Target = Callable[[Sequence[str]], str]


def _single(name: str, ignored: dict[str, str], **defaults: object) -> Printer:
    """A function of one result.

    Args:
        name: In `lax.linalg`.
        ignored: Keywords that are always given, as the primitive leaves them out.
        **defaults: Parameters that are printed unless they are this.
    """

    def write(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
        check_known(equation, *defaults)
        expression = call(
            f"lax.linalg.{name}",
            *(exact(operand) for operand in operands),
            **flags(equation.parameters, **defaults),
            **ignored,
        )
        return whole(expression, aval_of(equation.outputs[0]))

    return write


def _several(
    name: str, target: Target, ignored: dict[str, str], **defaults: object
) -> Printer:
    """A function of several results; what chooses an algorithm must be unset."""

    def write(equation: Equation, operands: Sequence[Value], _: Context) -> Unpacked:
        check_known(equation, *defaults)
        expression = call(
            f"lax.linalg.{name}",
            *(exact(operand) for operand in operands),
            **flags(equation.parameters, **defaults),
            **ignored,
        )
        return Unpacked(expression=expression, target=target)

    return write


def _svd_target(names: Sequence[str]) -> str:
    # The primitive gives the singular values first, the function second.
    return tuple_target([names[1], names[0], names[2]])


def _svd(equation: Equation, operands: Sequence[Value], context: Context):
    defaults = {"full_matrices": True, "compute_uv": True}
    if equation.parameters["compute_uv"]:
        write = _several("svd", _svd_target, {}, **defaults)
    else:
        write = _single_result_svd
    return write(equation, operands, context)


def _single_result_svd(equation: Equation, operands: Sequence[Value], _: Context):
    check_known(equation, "full_matrices", "compute_uv")
    expression = call("lax.linalg.svd", exact(operands[0]), compute_uv="False")
    return whole(expression, aval_of(equation.outputs[0]))


def _eig(equation: Equation, operands: Sequence[Value], _: Context) -> Unpacked:
    check_known(equation, *_EIG)
    expression = call(
        "lax.linalg.eig", exact(operands[0]), **flags(equation.parameters, **_EIG)
    )

    def target(names: Sequence[str]) -> str:
        return f"[{', '.join(names)}]" if len(names) > 1 else f"({names[0]},)"

    return Unpacked(expression=expression, target=target)


_EIG = {"compute_left_eigenvectors": True, "compute_right_eigenvectors": True}


def _linear_solve(
    equation: Equation, operands: Sequence[Value], context: Context
) -> Result:
    """`lax.custom_linear_solve`; what it applies become local functions.

    JAX makes the transposed product itself, from the product.
    """
    check_known(equation, "const_lengths", "jaxprs")
    lengths, bodies = (equation.parameters[key] for key in ("const_lengths", "jaxprs"))
    constants: dict[str, Sequence[Value]] = {}
    start = 0
    for field in type(lengths)._fields:
        end = start + getattr(lengths, field)
        constants[field], start = operands[start:end], end
    right_sides = operands[start:]
    if len(right_sides) != len(equation.outputs):
        raise NotPrintableError(
            primitive=equation.primitive.name, reason="it returns more than solutions"
        )
    several = len(right_sides) > 1

    def define(field: str, *arguments: Group) -> Expression:
        captured = constants[field]
        n_inputs, n_results = len(captured), len(right_sides)
        taken = Group(
            name="x", positions=tuple(range(n_inputs, n_inputs + len(right_sides)))
        )
        signature = Signature(
            captured=tuple(captured),
            arguments=(*arguments, taken),
            results=(Group(name="y", positions=tuple(range(n_results))),),
        )
        body = flatten(getattr(bodies, field))
        return context.local_function(field, body, signature)

    unread = Group(name="_", positions=(None,))
    arguments = [
        define("matvec"),
        sequence([exact(side) for side in right_sides])
        if several
        else exact(right_sides[0]),
        define("solve", unread),
    ]
    if bodies.transpose_solve is not None:
        arguments.append(define("transpose_solve", unread))
    symmetric = bodies.vecmat is bodies.matvec
    keywords = {"symmetric": "True"} if symmetric else {}
    expression = call("lax.custom_linear_solve", *arguments, **keywords)
    if several:
        return Unpacked(expression=expression, target=tuple_target)
    return whole(expression, aval_of(equation.outputs[0]))


def _permutation(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
    check_known(equation, "permutation_size")
    expression = call(
        "lax.linalg.lu_pivots_to_permutation",
        exact(operands[0]),
        atom(str(int(equation.parameters["permutation_size"]))),
    )
    return whole(expression, aval_of(equation.outputs[0]))


def _fft(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
    check_known(equation, "fft_type", "fft_lengths")
    kind: Expression = atom(
        enum_text(equation, lax.FftType(equation.parameters["fft_type"]))
    )
    lengths = integers(equation.parameters["fft_lengths"])
    expression = call("lax.fft", exact(operands[0]), kind, lengths)
    return whole(expression, aval_of(equation.outputs[0]))


PRINTERS: dict[Primitive, Printer] = {
    primitives.cholesky_p: _single("cholesky", {"symmetrize_input": "False"}),
    primitives.triangular_solve_p: _single(
        "triangular_solve",
        {},
        left_side=False,
        lower=False,
        transpose_a=False,
        conjugate_a=False,
        unit_diagonal=False,
    ),
    primitives.householder_product_p: _single("householder_product", {}),
    primitives.eigh_p: _several(
        "eigh",
        tuple_target,
        {"symmetrize_input": "False"},
        lower=True,
        sort_eigenvalues=True,
    ),
    primitives.qr_p: _several(
        "qr", tuple_target, {}, pivoting=False, full_matrices=True
    ),
    primitives.lu_p: _several("lu", tuple_target, {}),
    lax.linalg.lu_pivots_to_permutation_p: _permutation,
    primitives.svd_p: _svd,
    primitives.eig_p: _eig,
    primitives.schur_p: _several(
        "schur", tuple_target, {}, compute_schur_vectors=True, sort_eig_vals=False
    ),
    primitives.tridiagonal_p: _several("tridiagonal", tuple_target, {}, lower=True),
    primitives.hessenberg_p: _several("hessenberg", tuple_target, {}),
    primitives.tridiagonal_solve_p: _single(
        "tridiagonal_solve", {}, perturb_singular=False
    ),
    primitives.linear_solve_p: _linear_solve,
    primitives.fft_p: _fft,
}
