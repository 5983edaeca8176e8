"""On a TPU tiny batched products are products of arrays; elsewhere of matrices."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

import ntkplan
from ntkplan.cost.device import load_profile
from ntkplan.cost.formulas import is_entrywise, operation_seconds
from ntkplan.cost.tables import OperationTable, table_seconds
from ntkplan.cost.work import Operation, OperationKind
from tests.oracles import dense_kernel, relative_error

_OPTIONS = {"methods": {"hidden": "jacobian_contraction"}}


def _network(params, x):
    return jnp.mean(jnp.tanh(x @ params["hidden"]), 1) ** 2 @ params["head"]


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)

    def draw(*shape):
        return rng.normal(size=shape).astype(np.float32)

    params = {"hidden": draw(4, 4), "head": draw(4, 1)}
    return params, draw(70, 3, 4), draw(65, 3, 4)


def test_what_is_printed_for_a_tpu_computes_the_kernel(problem):
    plan = ntkplan.plan(_network, *problem, device="tpu_v5e", **_OPTIONS)
    source = plan.source()
    assert "jacobian1 = jnp.sum(" in source
    assert "jacobian2 = jnp.sum(" in source
    got = plan.compile()(*problem)
    assert relative_error(got, dense_kernel(_network, *problem)) < 1e-5


@pytest.mark.parametrize("device", ["x86_64_cpu", "nvidia_h100"])
def test_other_devices_multiply_matrices(problem, device):
    source = ntkplan.plan(_network, *problem, device=device, **_OPTIONS).source()
    assert "= jnp.sum(" not in source.partition("def derivatives")[2]


def test_large_products_stay_products():
    params = {"hidden": np.ones((64, 64)), "head": np.ones((64, 10))}
    x = np.ones((64, 8, 64))
    source = ntkplan.plan(_network, params, x, device="tpu_v5e", **_OPTIONS).source()
    assert "= jnp.sum(" not in source.partition("def derivatives")[2]


def test_the_price_is_that_of_the_cheaper_way():
    profile = load_profile("tpu_v5e")
    tiny = Operation(
        kind=OperationKind.BATCHED_DOT,
        batch=1024,
        m=4,
        n=4,
        k=3,
        flops=2 * 1024 * 48,
        bytes_read=4 * 1024 * 24,
        bytes_written_fresh=4 * 1024 * 16,
        entrywise=True,
    )
    large = dataclasses.replace(tiny, m=640, n=64, k=64, flops=2 * 1024 * 640 * 64 * 64)
    told = {"dtype": "float32", "precision": "highest"}
    for operation, expected in ((tiny, True), (large, False)):
        plain = dataclasses.replace(operation, entrywise=False)
        whole_s = operation_seconds(plain, profile, **told)
        chosen_s = operation_seconds(operation, profile, **told)
        assert is_entrywise(operation, profile, **told) is expected
        assert (chosen_s < whole_s) is expected
        table = OperationTable.of([operation, plain])
        assert table_seconds(table, profile, **told).warm == pytest.approx(
            [chosen_s, whole_s]
        )
