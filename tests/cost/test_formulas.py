import dataclasses
import itertools
import math

import pytest

from ntkplan.cost.device import available_profiles, load_profile
from ntkplan.cost.formulas import operation_seconds, seconds
from ntkplan.cost.profile import PRECISIONS, Platform, Rate
from ntkplan.cost.tables import OperationTable, table_seconds
from ntkplan.cost.work import Operation, OperationKind, Variant, Work
from tests.cost import profiles


def time_of(operation: Operation, profile=None, **options) -> float:
    options = {"dtype": "float32", "precision": None, **options}
    return operation_seconds(operation, profile or profiles.toy(), **options)


def elementwise(**fields) -> Operation:
    return Operation(kind=OperationKind.ELEMENTWISE, **fields)


def test_on_a_cpu_arithmetic_and_memory_overlap_in_part():
    operation = elementwise(
        flops=1000,
        transcendentals=10,
        bytes_read=100,
        bytes_written_reused=50,
        repeats=3,
    )
    arithmetic = 1000 / 1e9 + 10 / 1e8
    memory = 100 / 1e9 + 50 / 5e8
    expected = math.hypot(arithmetic, memory) + 3 * 1e-6
    assert time_of(operation) == pytest.approx(expected)


def test_elsewhere_the_slower_of_both_counts():
    gpu = dataclasses.replace(profiles.toy(), platform=Platform.GPU)
    assert time_of(elementwise(flops=1000, bytes_read=100), gpu) == pytest.approx(2e-6)
    assert time_of(elementwise(flops=100, bytes_read=3000), gpu) == pytest.approx(4e-6)


def test_half_the_peak_is_reached_at_the_half_efficiency_size():
    def dot(m):
        return Operation(kind=OperationKind.DOT, m=m, k=8, flops=10**9)

    assert time_of(dot(10)) == pytest.approx(2.0, rel=1e-3)
    assert time_of(dot(10**6)) == pytest.approx(1.0, rel=1e-3)
    assert time_of(dot(2)) == pytest.approx(6.0, rel=1e-3)


def test_a_product_with_a_vector_runs_as_fast_as_it_can_be_read():
    operation = Operation(
        kind=OperationKind.DOT, m=1, n=50, k=50, flops=5000, bytes_read=10200
    )
    expected = math.hypot(5000 / 1e9, 10200 / 1e9) + 1e-6
    assert time_of(operation) == pytest.approx(expected)


def test_a_product_of_one_term_is_an_elementwise_one():
    sizes = {"flops": 100, "bytes_read": 80, "bytes_written_reused": 400}
    for kind in (OperationKind.DOT, OperationKind.BATCHED_DOT):
        product = Operation(kind=kind, m=10, n=10, **sizes)
        assert time_of(product) == time_of(elementwise(**sizes))


def with_rate(profile, number=0, **fields):
    rates = list(profile.rates)
    rates[number] = dataclasses.replace(rates[number], **fields)
    return dataclasses.replace(profile, rates=tuple(rates))


def test_what_fits_the_caches_is_read_faster():
    toy = with_rate(profiles.toy(), 1, cache_speedup=4.0)
    memory = dataclasses.replace(toy.memory, cache_bytes=10**6)
    toy = dataclasses.replace(toy, memory=memory)

    def per_byte(nbytes):
        return (time_of(elementwise(bytes_read=nbytes), toy) - 1e-6) / nbytes

    assert per_byte(10**4) == pytest.approx(0.25e-9, rel=0.01)
    assert per_byte(10**6) == pytest.approx(0.625e-9)
    assert per_byte(10**8) == pytest.approx(1e-9, rel=0.01)
    # What counts is what one launch touches.
    small = elementwise(bytes_read=10**8, repeats=10**4)
    assert time_of(small, toy) == pytest.approx(0.25e-1 + 1e-2, rel=0.01)


@pytest.mark.parametrize(
    ("kind", "plain", "other", "variant"),
    [
        ("dot", {"m": 4, "n": 4}, {"transposed": True}, Variant.TRANSPOSED),
        ("dot", {"m": 4, "n": 4}, {"n": 1}, Variant.VECTOR),
        ("dot", {"m": 4, "n": 4}, {"m": 1, "transposed": True}, Variant.VECTOR),
        (
            "batched_dot",
            {"m": 4, "n": 4},
            {"n": 1, "transposed": True},
            Variant.TRANSPOSED_VECTOR,
        ),
        ("batched_dot", {"m": 4, "n": 4}, {"m": 1}, Variant.VECTOR),
        ("convolution", {}, {"batch": 3}, Variant.GROUPED),
        ("convolution_kernel_gradient", {}, {"batch": 3}, Variant.GROUPED),
    ],
)
def test_variants_have_rates_of_their_own(kind, plain, other, variant):
    toy = profiles.toy()
    slow = dataclasses.replace(
        toy.rates[0], kind=OperationKind(kind), variant=variant, peak_flops_per_s=1e7
    )
    slower = dataclasses.replace(toy, rates=(*toy.rates, slow))
    one = Operation(kind=OperationKind(kind), k=8, flops=10**9, **plain)
    two = dataclasses.replace(one, **other)
    assert one.variant is Variant.PLAIN
    assert two.variant is variant
    # A profile without rates of the variant prices it as the plain one.
    assert time_of(two, slower) > 50 * time_of(two, toy)
    assert time_of(one, slower) == time_of(one, toy)


def test_only_large_buffers_are_fresh():
    small = elementwise(bytes_written_fresh=999)
    large = elementwise(bytes_written_fresh=1000)
    assert time_of(small) == pytest.approx(999 / 5e8 + 1e-6)
    assert time_of(large) == pytest.approx(1000 / 1e8 + 1e-6)
    many = elementwise(bytes_written_fresh=9990, repeats=10)
    assert time_of(many) == pytest.approx(9990 / 5e8 + 1e-5)
    in_a_large_program = time_of(small, program_bytes=5000)
    assert in_a_large_program == pytest.approx(999 / 1e8 + 1e-6)


def test_no_more_than_the_peak_is_ever_fresh():
    step = elementwise(bytes_written_fresh=2000)
    work = Work(operations=(step,) * 10, peak_bytes=4000)
    found = seconds(work, profiles.toy(), dtype="float32", precision=None)
    assert found == pytest.approx(4000 / 1e8 + 16000 / 5e8 + 1e-5)


def test_small_operations_run_on_one_core_and_large_ones_pay_for_splitting():
    toy = with_rate(profiles.toy(), 1, parallel_overhead_s=1e-5)

    def body(nbytes):
        return time_of(elementwise(bytes_read=nbytes), toy) - 1e-6

    assert body(100) == pytest.approx(4 * 1e-7, rel=1e-3)
    assert body(10**6) == pytest.approx(1e-3 + 1e-5, rel=1e-2)
    times = [body(nbytes) for nbytes in range(100, 20000, 100)]
    assert times == sorted(times)


def test_a_small_operation_in_a_loop_is_part_of_its_body():
    launch = dataclasses.replace(
        profiles.toy().launch, loop_operation_s=1e-8, loop_small_s=2e-6
    )
    toy = dataclasses.replace(profiles.toy(), launch=launch)
    small = elementwise(flops=100, bytes_read=100, repeats=10, in_loop=True)
    assert time_of(small, toy) == pytest.approx(4 * 2e-7 + 10 * 1e-8)
    large = elementwise(bytes_read=10**6, repeats=10, in_loop=True)
    assert time_of(large, toy) == pytest.approx(1e-3 + 10 * 1e-6)


def test_far_strides_read_slowly():
    toy = profiles.toy()
    far = Rate(
        **{
            **toy.rates[1].__dict__,
            "kind": OperationKind.REDUCTION_MAJOR,
            "far_stride_bytes": 4096,
            "far_read_bytes_per_s": 1e7,
        }
    )
    toy = dataclasses.replace(toy, rates=(*toy.rates, far))

    def over(n):
        operation = Operation(
            kind=OperationKind.REDUCTION_MAJOR, n=n, k=100, bytes_read=400 * n
        )
        return time_of(operation, toy) / n

    assert over(1024) > 50 * over(1023)


def test_an_iteration_of_a_loop_costs_its_overhead():
    loop = Operation(kind=OperationKind.LOOP, repeats=50)
    assert time_of(loop) == pytest.approx(50 * 1e-7)


@pytest.mark.parametrize("profile", available_profiles(), ids=lambda item: item.name)
def test_whatever_a_profile_lacks_is_priced_by_rule_and_never_zero(profile):
    dtypes = ("float32", "float64", "bfloat16", "complex64", "int8")
    for kind, dtype, precision in itertools.product(
        OperationKind, dtypes, (None, *PRECISIONS, "strange")
    ):
        operation = Operation(kind=kind, flops=10, bytes_read=10, repeats=2)
        assert time_of(operation, profile, dtype=dtype, precision=precision) > 0


def test_a_missing_type_runs_as_float32_slower_by_its_width():
    operation = elementwise(flops=10**9)
    one = time_of(operation)
    assert time_of(operation, dtype="float64") == pytest.approx(2 * one, rel=1e-3)
    assert time_of(operation, dtype="bfloat16") == pytest.approx(one)


def test_more_exact_products_take_longer_on_a_tpu():
    dot = Operation(kind=OperationKind.DOT, m=512, n=512, k=512, flops=2 * 512**3)
    tpu = load_profile("tpu_v5e")
    times = [time_of(dot, tpu, precision=precision) for precision in PRECISIONS]
    assert times == sorted(times)
    assert times[-1] > 2 * times[0]
    assert time_of(dot, tpu, precision="exactest") == times[-1]


def test_the_shipped_cpu_knows_what_matters():
    cpu = load_profile("x86_64_cpu")

    def per_flop(m, n, k, batch=1):
        kind = OperationKind.DOT if batch == 1 else OperationKind.BATCHED_DOT
        flops = 2 * batch * m * n * k
        sizes = {"batch": batch, "m": m, "n": n, "k": k, "flops": flops}
        moved = 4 * batch * (m * k + k * n)
        operation = Operation(
            kind=kind, bytes_read=moved, bytes_written_fresh=4 * batch * m * n, **sizes
        )
        return time_of(operation, cpu) / flops

    assert per_flop(4, 4, 4, batch=5000) > 8 * per_flop(512, 512, 512)
    assert per_flop(2, 512, 512) > 2 * per_flop(512, 512, 512)

    def reduction(kind, n):
        nbytes = 2**24
        return time_of(
            Operation(kind=kind, n=n, k=64, flops=nbytes // 4, bytes_read=nbytes), cpu
        )

    minor = reduction(OperationKind.REDUCTION_MINOR, 1)
    assert reduction(OperationKind.REDUCTION_MAJOR, 2**16) > 4 * minor


@pytest.mark.parametrize("name", ["x86_64_cpu", "nvidia_h200"])
def test_many_at_once_take_what_each_takes(name):
    profile = load_profile(name)
    sizes = ((1, 1, 1, 1), (4, 1, 64, 32), (1, 700, 30, 8), (64, 16, 16, 512))
    operations = [
        Operation(
            kind=kind,
            batch=batch,
            m=m,
            n=n,
            k=k,
            flops=2 * batch * m * n * k,
            transcendentals=number % 2 * m,
            bytes_read=4 * batch * (m + n) * k,
            bytes_written_fresh=scale * batch * m * n,
            repeats=1 + number % 3,
            in_loop=number % 5 == 4,
            transposed=number % 2 == 1,
        )
        for kind in OperationKind
        for number, (batch, m, n, k) in enumerate(sizes)
        for scale in (4, 40000)
    ]
    table = OperationTable.of(operations)
    for dtype in ("float32", "float64"):
        options = {"dtype": dtype, "precision": None}
        found = table_seconds(table, profile, **options)
        for program_bytes, times in ((0, found.warm), (10**9, found.fresh)):
            expected = [
                operation_seconds(item, profile, program_bytes=program_bytes, **options)
                for item in operations
            ]
            assert list(times) == pytest.approx(expected, rel=1e-6)
