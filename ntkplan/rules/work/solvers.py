"""Work of factorisations, solves, transforms, sorting and random numbers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import jax

from ntkplan._jax import Primitive, primitives
from ntkplan.cost.work import OperationKind
from ntkplan.rules.work.step import (
    TANGENT,
    Call,
    Fuses,
    Pass,
    Step,
    WorkRule,
    all_reads,
    results_bytes,
)

Count = Callable[[Call], int]


def rules() -> dict[Primitive, WorkRule]:
    """Returns the rules of this family."""
    found = {
        primitive: _factorisation(flops, slope)
        for primitive, (flops, slope) in _FACTORISATIONS.items()
    }
    found[primitives.fft_p] = _counted(_fft, OperationKind.ELEMENTWISE, slope=1)
    for primitive in (
        primitives.sort_p,
        primitives.top_k_p,
        primitives.approx_top_k_p,
    ):
        found[primitive] = _counted(_comparisons, OperationKind.GATHER, slope=0)
    for primitive in (
        primitives.threefry2x32_p,
        primitives.random_bits_p,
        primitives.random_split_p,
        primitives.random_fold_in_p,
        primitives.random_seed_p,
        primitives.rng_bit_generator_p,
        primitives.rng_uniform_p,
    ):
        found[primitive] = _counted(_random, OperationKind.ELEMENTWISE, slope=0)
    return found


def _square(call: Call) -> tuple[int, int, int]:
    """Returns batch, rows and columns of the first operand's matrices."""
    shape = call.inputs[0].shape
    return math.prod(shape[:-2]), shape[-2], shape[-1]


def _cholesky(call: Call) -> int:
    batch, size, _ = _square(call)
    return max(1, batch * size**3 // 3)


def _lu(call: Call) -> int:
    batch, rows, columns = _square(call)
    short, long = sorted((rows, columns))
    return max(1, batch * (short**2 * long - short**3 // 3))


def _qr(call: Call) -> int:
    batch, rows, columns = _square(call)
    return 2 * batch * rows * columns * min(rows, columns)


def _spectrum(call: Call) -> int:
    batch, rows, columns = _square(call)
    return 22 * batch * max(rows, columns) * min(rows, columns) ** 2


def _triangular_solve(call: Call) -> int:
    size = call.inputs[0].shape[-1]
    return call.inputs[1].elements * size


def _tridiagonal_solve(call: Call) -> int:
    return 8 * call.result.elements


_FACTORISATIONS: dict[Primitive, tuple[Count, int]] = {
    primitives.cholesky_p: (_cholesky, 6),
    primitives.lu_p: (_lu, 4),
    primitives.qr_p: (_qr, 4),
    primitives.householder_product_p: (_qr, 4),
    primitives.hessenberg_p: (_qr, 4),
    primitives.tridiagonal_p: (_qr, 4),
    primitives.eigh_p: (_spectrum, 1),
    primitives.eig_p: (_spectrum, 1),
    primitives.svd_p: (_spectrum, 1),
    primitives.schur_p: (_spectrum, 1),
    primitives.triangular_solve_p: (_triangular_solve, 1),
    primitives.tridiagonal_solve_p: (_tridiagonal_solve, 1),
    jax.lax.linalg.lu_pivots_to_permutation_p: (lambda call: call.result.elements, 1),
}


def _factorisation(flops: Count, slope: int) -> WorkRule:
    return _counted(flops, OperationKind.BATCHED_DOT, slope)


def _counted(flops: Count, kind: OperationKind, slope: int) -> WorkRule:
    """Makes a rule of a count; a derivative takes `slope` times as many operations."""

    def sizes(call: Call) -> dict[str, int]:
        if kind is not OperationKind.BATCHED_DOT or len(call.inputs[0].shape) < 2:
            return {}
        _, rows, columns = _square(call)
        return {"m": rows, "n": columns, "k": min(rows, columns)}

    def forward(call: Call) -> tuple[Step, ...]:
        return (
            Pass(
                kind=kind,
                reads=all_reads(call),
                written_bytes=results_bytes(call),
                flops=flops(call),
                fuses=Fuses.NO,
                **sizes(call),
            ),
        )

    def derivative(call: Call, operand: int) -> tuple[Step, ...]:
        (step,) = forward(call)
        assert isinstance(step, Pass)
        tangent = (TANGENT, call.inputs[operand].nbytes)
        return (
            dataclasses.replace(
                step, reads=(tangent, *step.reads), flops=slope * step.flops
            ),
        )

    return WorkRule(forward=forward, pull=derivative, push=derivative)


def _fft(call: Call) -> int:
    length = math.prod(call.parameters["fft_lengths"])
    transforms = max(call.inputs[0].elements, call.result.elements)
    return max(1, math.ceil(5 * transforms * math.log2(max(2, length))))


def _comparisons(call: Call) -> int:
    array = call.inputs[0]
    axis = call.parameters.get("dimension", len(array.shape) - 1)
    length = max(2, array.shape[axis])
    return array.elements * math.ceil(math.log2(length))


def _random(call: Call) -> int:
    # 20 rounds of Threefry: an addition, a rotation (3) and a xor, on two words.
    return 100 * sum(array.elements for array in call.outputs)
