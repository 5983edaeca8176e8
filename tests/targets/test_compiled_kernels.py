"""Emitted kernels, compiled for devices that are not there.

    JAX_PLATFORMS=cpu pytest -n 0 -m slow tests/targets          # a minute each
    JAX_PLATFORMS=cpu pytest -n 0 -m slow tests/targets -k "perceptron or embedding"

Needs the extra `targets`; without it the tests are skipped.
"""

from __future__ import annotations

import jax
import pytest

import ntkplan
from benchmarks.targets.compilers import COMPILERS, answers, missing
from ntkplan.cost.device import load_profile
from tests.targets.models import SUBJECTS
from tests.targets.worker import found_host, found_wide

ESTIMATE_IS_WITHIN = 1.5
WORTH_COMPARING_BYTES = 50e6


@pytest.mark.slow
@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
@pytest.mark.parametrize("device", COMPILERS)
def test_a_kernel_compiles_and_needs_what_was_planned(device, subject):
    compiler = COMPILERS[device]
    reason = missing(compiler)
    if reason:
        pytest.skip(reason)
    params, x = subject.specs
    plan = ntkplan.plan(subject.f, params, x, kernel=subject.kernel, device=device)
    assert '@jax.default_matmul_precision("highest")' in plan.source()
    arguments = jax.tree.map(
        lambda spec: {"shape": spec.shape, "dtype": str(spec.dtype)}, [params, x]
    )
    program = {"source": plan.source(), "arguments": arguments}
    (said,) = answers(compiler, "tests.targets.worker", device, [program])
    assert "error" not in said, said["error"]
    # What a TPU holds in its vector memory is no temporary to its compiler, but is in
    # the peak; gaps between arrays are not in the peak, but in what is allocated.
    given_bytes = said["argument_bytes"] + said["output_bytes"] - said["alias_bytes"]
    allocated_bytes = given_bytes + said["temporary_bytes"]
    needed_bytes = max(allocated_bytes, said["peak_bytes"])
    print(f"{needed_bytes:.3g} bytes, {plan.cost.peak_bytes:.3g} estimated, {said}")
    assert needed_bytes - given_bytes > WORTH_COMPARING_BYTES
    assert needed_bytes < load_profile(device).memory.usable_bytes
    ratio = needed_bytes / plan.cost.peak_bytes
    assert 1 / ESTIMATE_IS_WITHIN < ratio < ESTIMATE_IS_WITHIN
    assert said["wide"] == []
    assert said["host"] == []


@pytest.mark.parametrize(
    "line",
    [
        "%a = f64[2,3]{1,0} parameter(0)",
        "ROOT %b = (f32[2], s64[]) tuple(%a)",
        "%0 = stablehlo.add %a, %b : tensor<2x?xf64>",
        "%c = stablehlo.constant dense<1> : tensor<i64>",
    ],
)
def test_64_bit_types_are_found_in_the_text(line):
    assert found_wide(["ENTRY %main {", line]) == [line]
    for wide, narrow in (("f64", "f32"), ("s64", "s32"), ("i64", "i32")):
        line = line.replace(wide, narrow)
    assert found_wide([line]) == []


def test_what_leaves_the_device_is_found_in_the_text():
    def f(x):
        spec = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return jax.pure_callback(lambda x: x, spec, x)

    lowered = jax.jit(f).lower(1.0)
    assert found_host([lowered.as_text()])
    assert found_host([lowered.compile().as_text()])
    assert not found_host([jax.jit(jax.numpy.sin).lower(1.0).as_text()])
