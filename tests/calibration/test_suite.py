import concurrent.futures
import dataclasses
from collections import Counter
from typing import cast

import jax
import jax.numpy as jnp
import pytest

from ntkplan.calibration.case import Case, Extent
from ntkplan.calibration.programs import Arrays, compile_case
from ntkplan.calibration.suite import in_turn, suite
from ntkplan.cost.profile import ITEM_BYTES, Platform
from ntkplan.cost.work import Operation, OperationKind, Variant


def classes(cases) -> Counter:
    return Counter((case.operation.kind, case.dtype, case.precision) for case in cases)


def test_the_suite_is_always_the_same():
    first, second = suite(Platform.CPU), suite(Platform.CPU)
    assert [case.operation for case in first] == [case.operation for case in second]


@pytest.mark.parametrize("platform", list(Platform))
def test_every_class_is_measured_in_float32(platform):
    found = classes(suite(platform))
    for kind in OperationKind:
        if kind is not OperationKind.LOOP:
            assert found[kind, "float32", "default"] >= 20


def test_accelerators_are_measured_at_highest_precision_and_cpus_in_float64():
    gpu = classes(suite(Platform.GPU))
    assert gpu[OperationKind.DOT, "float32", "highest"]
    assert gpu[OperationKind.DOT, "bfloat16", "default"]
    assert not gpu[OperationKind.TRANSPOSE, "float32", "highest"]
    assert not classes(suite(Platform.TPU))[OperationKind.DOT, "float64", "default"]
    assert classes(suite(Platform.CPU))[OperationKind.DOT, "float64", "default"]


def test_a_quick_suite_is_a_smaller_one_in_float32():
    quick = suite(Platform.CPU, quick=True)
    assert 3 * len(quick) < len(suite(Platform.CPU))
    assert {case.dtype for case in quick} == {"float32"}


def test_every_beginning_of_the_suite_holds_all_classes():
    """What a slow machine has no time for is lost evenly, other types first."""
    cases = suite(Platform.CPU)
    whole = Counter(case.operation.kind for case in cases if case.dtype == "float32")
    half = sum(whole.values()) // 2
    part = Counter(case.operation.kind for case in cases[:half])
    assert all(case.dtype == "float32" for case in cases[:half])
    for kind, count in whole.items():
        assert part[kind] == pytest.approx(count / 2, abs=3)


def test_all_ways_of_running_products_occur():
    found = Counter(
        (case.operation.kind, case.operation.variant) for case in suite(Platform.CPU)
    )
    for kind in (OperationKind.DOT, OperationKind.BATCHED_DOT):
        for variant in (Variant.PLAIN, Variant.TRANSPOSED, Variant.VECTOR):
            assert found[kind, variant] >= 15
    for kind in (
        OperationKind.CONVOLUTION,
        OperationKind.CONVOLUTION_KERNEL_GRADIENT,
    ):
        assert found[kind, Variant.GROUPED] >= 10


def test_lists_are_merged_in_proportion():
    def named(name, count):
        operation = Operation(kind=OperationKind.DOT)
        return [
            Case(operation=operation, function=name, shapes=()) for _ in range(count)
        ]

    merged = [case.function for case in in_turn([named("a", 2), named("b", 4)])]
    assert merged == ["b", "a", "b", "b", "a", "b"]


def smallest(kind: OperationKind, variant: Variant, dtype: str) -> Case:
    cases = [
        case
        for case in suite(Platform.CPU)
        if (case.operation.kind, case.operation.variant) == (kind, variant)
        and case.dtype == dtype
    ]
    return min(cases, key=lambda case: case.nbytes)


@pytest.mark.parametrize(
    ("kind", "variant"),
    [
        (OperationKind.DOT, Variant.PLAIN),
        (OperationKind.DOT, Variant.TRANSPOSED),
        (OperationKind.DOT, Variant.VECTOR),
        (OperationKind.BATCHED_DOT, Variant.PLAIN),
        (OperationKind.BATCHED_DOT, Variant.TRANSPOSED),
        (OperationKind.CONVOLUTION, Variant.PLAIN),
        (OperationKind.CONVOLUTION, Variant.GROUPED),
        (OperationKind.CONVOLUTION_KERNEL_GRADIENT, Variant.PLAIN),
        (OperationKind.CONVOLUTION_KERNEL_GRADIENT, Variant.GROUPED),
        (OperationKind.ELEMENTWISE, Variant.PLAIN),
        (OperationKind.REDUCTION_MINOR, Variant.PLAIN),
        (OperationKind.REDUCTION_MAJOR, Variant.PLAIN),
        (OperationKind.TRANSPOSE, Variant.PLAIN),
        (OperationKind.GATHER, Variant.PLAIN),
    ],
    ids=lambda item: item.value,
)
def test_a_case_does_what_its_counts_say(kind, variant):
    """Bytes are those of its arrays; of a product, flops are 2 m n k."""
    case = smallest(kind, variant, "float32")
    arrays = Arrays(jax.devices()[0])
    arguments = [
        arrays.get(position, shape, case.dtype)
        for position, shape in enumerate(case.shapes)
    ]
    result = jax.eval_shape(case.function, *arguments)
    operation = case.operation
    assert operation.bytes_written_fresh == 4 * result.size
    read = sum(argument.nbytes for argument in arguments)
    if kind is not OperationKind.GATHER:
        assert operation.bytes_read == read
    if kind in (OperationKind.DOT, OperationKind.BATCHED_DOT):
        sizes = operation.batch * operation.m * operation.n
        assert sizes == result.size
        assert operation.flops == 2 * sizes * operation.k
    if kind in (OperationKind.CONVOLUTION, OperationKind.CONVOLUTION_KERNEL_GRADIENT):
        # Positions that meet padding are not counted.
        most = 2 * operation.batch * operation.m * operation.n * operation.k
        assert 0 < cast(int, operation.flops) <= most


def test_a_case_of_64_bits_runs_in_64_bits():
    case = smallest(OperationKind.DOT, Variant.PLAIN, "float64")
    timed = compile_case(case, Arrays(jax.devices()[0]))
    timed.round()
    assert {argument.dtype for argument in timed.arguments} == {jnp.dtype("float64")}
    assert timed.least > 0
    assert ITEM_BYTES[case.dtype] * timed.arguments[0].size == timed.arguments[0].nbytes


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_a_program_is_compiled_once_with_its_precision(dtype):
    seen = []

    def product(a, b):
        seen.append(jax.config.jax_default_matmul_precision)
        return a @ b

    case = Case(
        operation=Operation(kind=OperationKind.DOT, m=4, n=4, k=4),
        function=product,
        shapes=((4, 4), (4, 4)),
        dtype=dtype,
        precision="highest",
    )
    device = jax.devices()[0]
    # As in a calibration, which compiles in other threads than it times in.
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        timed = pool.submit(compile_case, case, Arrays(device)).result()
    with jax.default_device(device):
        for _ in range(3):
            timed.round()
    assert seen == ["highest"]
    assert len(timed.rounds) == 3


def test_extents_bound_what_is_drawn():
    extent = Extent(least_flops=1e5, least_bytes=1e3, most_flops=1e7, most_bytes=1e6)
    from ntkplan.calibration.product_cases import dots

    cases = dots(4, extent, 20)
    assert len(cases) == 20
    for case in cases:
        assert 1e5 <= cast(float, case.operation.flops) <= 1e7
        assert case.nbytes <= 1e6
    larger = dataclasses.replace(extent, most_flops=1e9, most_bytes=1e8)
    assert max(case.nbytes for case in dots(4, larger, 60)) > 1e6
