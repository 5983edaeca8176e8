"""Arguments of the public functions, checked once and brought into one form."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import numpy

from ntkplan.arguments import require_arrays, whole_number
from ntkplan.errors import (
    ConflictingOptionsError,
    MismatchedInputsError,
    NoExampleAxisError,
    UnknownOptionError,
)
from ntkplan.ir.kernel import KernelSpec

KERNELS = ("full", "trace", "diagonal", "sum_of_logits")
PAIRS = ("all", "matched")
PRECISIONS = ("default", "high", "highest")

TUNING_BUDGET_S = 20.0
"""Seconds that measuring may take with `tune=True`."""

# As `numfmt` and Kubernetes read them: G is GB, a thousand million bytes, Gi is GiB.
_UNITS = {
    f"{prefix}{binary}{ending}": (1024 if binary else 1000) ** power
    for power, prefix in enumerate(("", "K", "M", "G", "T"))
    for binary in (("", "I") if prefix else ("",))
    for ending in ("B", "")
}

Axes = int | Sequence[int] | None


def kernel_spec(
    *,
    kernel: str,
    trace_axes: Axes,
    diagonal_axes: Axes,
    pairs: str,
    output_shape: tuple[int, ...],
    whole_batch: bool,
    output: str = "",
) -> KernelSpec:
    """Says what becomes of every output axis.

    Args:
        kernel: One of `KERNELS`.
        trace_axes: Axes of the output, its example axis counted, as users of
            neural_tangents give them; or None.
        diagonal_axes: Likewise.
        pairs: One of `PAIRS`.
        output_shape: Shape of one example's output, or of the whole batch's.
        whole_batch: Whether the first of these axes counts examples.
        output: The output's path in the tree that the model returns.

    Raises:
        UnknownOptionError: A name is not known.
        ConflictingOptionsError: Axes are given twice, out of range, or beside `kernel`.
    """
    if kernel not in KERNELS:
        raise UnknownOptionError(option="kernel", value=kernel, known=KERNELS)
    if pairs not in PAIRS:
        raise UnknownOptionError(option="pairs", value=pairs, known=PAIRS)
    offset = 0 if whole_batch else 1
    rank = len(output_shape) + offset
    own = tuple(range(1 - offset, len(output_shape)))
    by_axes = trace_axes is not None or diagonal_axes is not None
    if by_axes and kernel != "full":
        raise ConflictingOptionsError(
            what=f"kernel={kernel!r} and trace_axes= or diagonal_axes= were both given",
            hint="Give one or the other",
        )
    trace = _axes("trace_axes", trace_axes, rank, offset, output)
    diagonal = _axes("diagonal_axes", diagonal_axes, rank, offset, output)
    if set(trace) & set(diagonal):
        raise ConflictingOptionsError(
            what="an axis is in both trace_axes and diagonal_axes",
            hint="Give every output axis once",
        )
    if kernel == "trace":
        trace = own
    if kernel == "diagonal":
        diagonal = own
    name = "axes" if by_axes else kernel
    matched = pairs == "matched"
    if whole_batch:
        if kernel == "sum_of_logits":
            raise ConflictingOptionsError(
                what='kernel="sum_of_logits" with batch_axis=None',
                hint='Use kernel="trace" or "full" where examples interact',
            )
        if matched:
            diagonal = (0, *diagonal)
    full = tuple(
        axis for axis in range(len(output_shape)) if axis not in (*trace, *diagonal)
    )
    return KernelSpec(
        name=name,
        output_shape=output_shape,
        full_axes=full,
        trace_axes=trace,
        diagonal_axes=diagonal,
        matched=matched and not whole_batch,
        whole_batch=whole_batch,
    )


def _axes(
    name: str, axes: Axes, rank: int, offset: int, output: str
) -> tuple[int, ...]:
    """Brings axes that count the example axis into axes of one example's output."""
    if axes is None:
        return ()
    many = isinstance(axes, Iterable) and not isinstance(axes, str)
    wanted = "a whole number, or several, of axes of the output"
    each: Iterable[object] = axes if many else (axes,)  # pyright: ignore
    listed = [whole_number(name, axis, wanted) for axis in each]
    which = f"output {output}" if output else "the output"
    found: list[int] = []
    for axis in listed:
        if not -rank <= axis < rank:
            raise ConflictingOptionsError(
                what=f"{name} names axis {axis}, and {which} has {rank} axes",
                hint="Count the output's axes, its example axis included",
            )
        positive = axis % rank
        if positive == 0:
            raise ConflictingOptionsError(
                what=f"{name} names axis {axis}, which counts examples",
                hint='Use pairs="matched" for the kernel of matched examples',
            )
        found.append(positive - offset)
    if len(set(found)) != len(found):
        raise ConflictingOptionsError(
            what=f"{name}={tuple(listed)} names an axis twice", hint="Name it once"
        )
    return tuple(sorted(found))


def parse_bytes(limit: int | float | str) -> float:
    """Reads a memory limit.

    Raises:
        UnknownOptionError: It is neither a number of bytes nor text such as `8GiB`.

    Example:
        >>> parse_bytes("1.5KiB"), parse_bytes("8G"), parse_bytes("1e6")
        (1536.0, 8000000000.0, 1000000.0)
    """
    if (
        isinstance(limit, int | float)
        and not isinstance(limit, bool)
        and 0 < limit < float("inf")
    ):
        return float(limit)
    match = re.fullmatch(
        r"\s*([0-9.]+(?:[eE][+-]?[0-9]+)?)\s*([A-Za-z]*)\s*", str(limit)
    )
    if isinstance(limit, str) and match and match[2].upper() in _UNITS:
        try:
            count = float(match[1]) * _UNITS[match[2].upper()]
        except ValueError:
            count = 0.0
        if 0 < count < float("inf"):
            return count
    raise UnknownOptionError(
        option="memory_limit",
        value=limit,
        known=(
            "a positive number of bytes",
            'or text with a unit: "500MB" or "500M" (powers of 1000: K, M, G, T)',
            '"8GiB" or "8Gi" (powers of 1024: Ki, Mi, Gi, Ti)',
        ),
    )


def parse_tune(tune: bool | int | float) -> float | None:
    """Returns the seconds that measuring may take, or None for no measuring.

    Raises:
        UnknownOptionError: It is neither a truth value nor a positive number.

    Example:
        >>> parse_tune(True), parse_tune(False), parse_tune(2)
        (20.0, None, 2.0)
    """
    if isinstance(tune, bool):
        return TUNING_BUDGET_S if tune else None
    if isinstance(tune, int | float) and 0 < tune < float("inf"):
        return float(tune)
    raise UnknownOptionError(
        option="tune", value=tune, known=("False", "True", "a number of seconds")
    )


def parse_tolerance(
    tolerance: float | None, spec: KernelSpec | None = None
) -> float | None:
    """Returns the relative error that is allowed, or None where all is to be exact.

    Args:
        tolerance: What was given.
        spec: A kernel that it is to hold for.

    Raises:
        UnknownOptionError: It is no number between 0 and 1.
        ConflictingOptionsError: The kernel has no approximation.
    """
    if tolerance is None:
        return None
    number = isinstance(tolerance, int | float) and not isinstance(tolerance, bool)
    if not number or not 0 < tolerance < 1:
        raise UnknownOptionError(
            option="tolerance", value=tolerance, known=("None", "0 < tolerance < 1")
        )
    why = ""
    if spec is not None and spec.sums_logits:
        why = 'tolerance= with kernel="sum_of_logits", which needs no stand-in'
    if spec is not None and spec.whole_batch:
        why = "tolerance= with batch_axis=None, where examples interact"
    if why:
        raise ConflictingOptionsError(what=why, hint="Leave tolerance= out")
    return float(tolerance)


def parse_precision(precision: Any) -> str | None:
    """Returns the name of a `jax.lax.Precision`, or None.

    Raises:
        UnknownOptionError: It is none.
    """
    if precision is None:
        return None
    if isinstance(precision, jax.lax.Precision):
        return precision.name.lower()
    if isinstance(precision, str) and precision.lower() in PRECISIONS:
        return precision.lower()
    raise UnknownOptionError(option="precision", value=precision, known=PRECISIONS)


def count_examples(name: str, x: Any, batch_axis: int | None) -> int:
    """Returns the number of examples that all arrays of `x` agree on.

    Raises:
        ArgumentTypeError: A leaf is no array.
        NoExampleAxisError: An array has no such axis.
        MismatchedInputsError: They do not agree, or there are none.
    """
    require_arrays(name, x, examples=batch_axis is not None)
    leaves = jax.tree_util.tree_leaves_with_path(x)
    if not leaves:
        raise MismatchedInputsError(
            what=f"arrays in {name}",
            got="none",
            wanted="at least one",
            hint="Pass the examples as an array or a tree of arrays",
        )
    if batch_axis is None:
        return 1
    counts: dict[str, int] = {}
    for keys, array in leaves:
        shape = tuple(numpy.shape(array))
        if not -len(shape) <= batch_axis < len(shape):
            raise NoExampleAxisError(shape=shape, batch_axis=batch_axis)
        counts[name + jax.tree_util.keystr(keys)] = shape[batch_axis]
    first = next(iter(counts.values()))
    for place, count in counts.items():
        if count != first:
            raise MismatchedInputsError(
                what=f"the number of examples in {place}",
                got=count,
                wanted=first,
                hint="Every array of x holds the examples; close over other arrays",
            )
    if first == 0:
        raise MismatchedInputsError(
            what=f"the number of examples in {name}",
            got=0,
            wanted="at least 1",
            hint="Pass at least one example",
        )
    return first
