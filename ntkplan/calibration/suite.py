"""Which programs a device is measured with, in the order in which they matter."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ntkplan.calibration import memory_cases, product_cases
from ntkplan.calibration.case import Case, Extent
from ntkplan.cost.profile import ITEM_BYTES, Platform
from ntkplan.cost.work import OperationKind, Variant

MATRIX_KINDS: tuple[OperationKind, ...] = (
    OperationKind.DOT,
    OperationKind.BATCHED_DOT,
    OperationKind.CONVOLUTION,
    OperationKind.CONVOLUTION_KERNEL_GRADIENT,
)
"""Classes whose rate depends on the precision."""

_COUNTS = {
    product_cases.dots: 100,
    product_cases.batched_dots: 116,
    product_cases.convolutions: 40,
    product_cases.kernel_gradients: 36,
    memory_cases.elementwise: 36,
    memory_cases.reductions: 60,
    memory_cases.transposes: 32,
    memory_cases.gathers: 24,
}
"""How many programs each class has in float32, if there is time for all."""

_QUICK_PART = 0.4
_OTHER_PART = 0.4

_LARGE = Extent(least_flops=1e6, least_bytes=1e6, most_flops=1e12, most_bytes=2.5e8)
_EXTENTS = {
    Platform.CPU: Extent(
        least_flops=3e4, least_bytes=3e4, most_flops=1.5e9, most_bytes=1e8
    ),
    Platform.GPU: _LARGE,
    Platform.TPU: _LARGE,
}

_LARGE_PART = 0.12
"""Part of the programs of a class that may be as large as the extent allows."""

_VARIANTS: dict[Platform, tuple[tuple[str, str], ...]] = {
    Platform.CPU: (("float64", "default"),),
    Platform.GPU: (
        ("float32", "highest"),
        ("bfloat16", "default"),
        ("float64", "default"),
    ),
    Platform.TPU: (("float32", "highest"), ("bfloat16", "default")),
}
"""Types and precisions beside float32 at default precision."""


def suite(platform: Platform, *, quick: bool = False) -> list[Case]:
    """Returns every program for a platform, the ones that matter most first.

    The order is also that in which they are given up on a slow machine, from the end:
    first float32 at default precision, all classes in turn, so that each keeps its
    share; then, where there is time for all of them, other precisions and types,
    again all classes in turn. A class, precision or type that has too few programs in
    the end is priced by rule.

    Args:
        platform: Gives sizes, types and precisions.
        quick: Whether to return fewer programs, in float32 alone.
    """
    first = _programs(platform, "float32", "default", _QUICK_PART if quick else 1.0)
    if quick:
        return first
    for dtype, precision in _VARIANTS[platform]:
        programs = _programs(platform, dtype, precision, _OTHER_PART)
        if precision != "default":
            programs = [
                case for case in programs if case.operation.kind in MATRIX_KINDS
            ]
        first += programs
    return first


def _programs(
    platform: Platform, dtype: str, precision: str, part: float
) -> list[Case]:
    extent = _EXTENTS[platform]
    small = dataclasses.replace(extent, most_bytes=extent.most_bytes / 4)
    classes: dict[tuple[OperationKind, Variant], list[Case]] = {}
    for make, full in _COUNTS.items():
        count = max(8, round(full * part))
        large = max(1, round(count * _LARGE_PART))
        # Few are so large that they leave the caches: they take long and much memory.
        larger = [
            case
            for case in make(ITEM_BYTES[dtype], extent, 3 * count)
            if case.nbytes > small.most_bytes
        ][:large]
        drawn = make(ITEM_BYTES[dtype], small, count - len(larger))
        for case in in_turn([drawn, larger]):
            case = dataclasses.replace(case, dtype=dtype, precision=precision)
            key = (case.operation.kind, case.operation.variant)
            classes.setdefault(key, []).append(case)
    return in_turn(list(classes.values()))


def in_turn(classes: Sequence[Sequence[Case]]) -> list[Case]:
    """Merges lists so that every beginning holds the same part of each of them."""
    placed = [
        ((place + 0.5) / len(cases), number, case)
        for number, cases in enumerate(classes)
        for place, case in enumerate(cases)
    ]
    return [case for _, _, case in sorted(placed, key=lambda item: item[:2])]
