"""Memory on devices whose compiler needs none beside operands and results."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

import ntkplan
from ntkplan.cost.device import load_profile

N, INNER, OUTER, POSITIONS, OUTPUTS = 16, 64, 48, 8, 5
X = np.zeros((N, POSITIONS, INNER), np.float32)
PARAMS = {
    "w": np.zeros((INNER, OUTER), np.float32),
    "head": np.zeros((OUTER, OUTPUTS), np.float32),
}


def model(params, x):
    return jnp.tanh(x @ params["w"]).sum(1) @ params["head"]


def planned(device):
    methods = {"*": "jacobian_contraction"}
    return ntkplan.plan(model, PARAMS, X, device=device, methods=methods)


def test_only_compilers_for_tpus_do_so():
    fused = {p.name for p in ntkplan.devices() if p.fuses_products}
    assert fused == {"tpu_v4", "tpu_v5e", "tpu_v5p", "tpu_v6e"}


@pytest.mark.parametrize("device", ["tpu_v5e", "nvidia_h100"])
def test_a_jacobian_is_held_once_where_it_is_not_copied(device):
    plan = planned(device)
    order = "(C1 A1)(C2 A2)"
    (found,) = [
        item
        for layer in plan.layers
        if layer.path == "w"
        for item in (layer.chosen, *layer.alternatives)
        if item.order == order
    ][:1]
    jacobian_bytes = 4 * N * OUTPUTS * INNER * OUTER
    cotangent_bytes = 4 * N * OUTPUTS * POSITIONS * OUTER
    held_bytes = jacobian_bytes
    if not load_profile(device).fuses_products:
        held_bytes += cotangent_bytes  # its transposed copy
    assert found.peak_bytes == pytest.approx(held_bytes, rel=0.03)
