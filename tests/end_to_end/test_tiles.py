"""Kernels that are computed tile by tile inside of one call, to fit a memory limit."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

import ntkplan
from ntkplan.errors import (
    ConflictingOptionsError,
    MemoryExceededError,
    MemoryLimitError,
)
from tests.oracles import x64

N1, N2, N_OUTPUTS = 7, 5, 4
KERNELS = ("full", "trace", "diagonal")
METHODS = {
    "chosen": None,
    "jacobians": "jacobian_contraction",
    "pushed": "ntk_vector_products",
    "mixed": {"first": "ntk_vector_products"},
}


def model(params, x):
    """A leaf that is its own factor, so that tiles share data-free arrays too."""
    hidden = jnp.tanh(x @ params["first"] * params["first"][0])
    return jnp.tanh(hidden @ params["second"]) @ params["head"]


@functools.cache
def inputs():
    generator = np.random.default_rng(0)
    shapes = {"first": (5, 7), "second": (7, 6), "head": (6, N_OUTPUTS)}
    params = {name: generator.normal(size=shape) for name, shape in shapes.items()}
    return params, generator.normal(size=(N1, 5)), generator.normal(size=(N2, 5))


@functools.cache
def jacobian(second: bool):
    params, x1, x2 = inputs()
    with x64():
        leaves = jax.jacrev(lambda params: model(params, x2 if second else x1))(params)
        flat = [leaf.reshape(*leaf.shape[:2], -1) for leaf in leaves.values()]
        return np.concatenate([np.asarray(leaf) for leaf in flat], axis=-1)


def dense(kernel, crossed):
    full = np.einsum("nok,mpk->nmop", jacobian(False), jacobian(crossed))
    if kernel == "trace":
        return np.einsum("nmoo->nm", full) / N_OUTPUTS
    return np.einsum("nmoo->nmo", full) if kernel == "diagonal" else full


def planned(kernel, methods, crossed, limit, **options):
    params, x1, x2 = inputs()
    return ntkplan.plan(
        model,
        params,
        x1,
        x2 if crossed else None,
        kernel=kernel,
        methods=METHODS[methods],
        memory_limit=limit,
        **options,
    )


def least_limit(*what, **options):
    with pytest.raises(MemoryLimitError) as refused:
        planned(*what, 1, **options)
    return refused.value.least_bytes


WAYS = [
    pytest.param(*way, marks=() if number % 4 == 0 else pytest.mark.slow)
    for number, way in enumerate(itertools.product(METHODS, (False, True), KERNELS))
]


@pytest.mark.parametrize(("methods", "crossed", "kernel"), WAYS)
def test_every_limit_gives_the_same_kernel(methods, crossed, kernel):
    """From the least limit on, whose tiles are single examples or few outputs."""
    params, x1, x2 = inputs()
    with x64():
        least = least_limit(kernel, methods, crossed)
        seen = set()
        for limit in np.ceil(np.geomspace(least, 4 * least, 4)):
            plan = planned(kernel, methods, crossed, limit)
            assert plan.cost.peak_bytes <= limit
            if plan.notes in seen:
                continue
            seen.add(plan.notes)
            got = plan.compile()(params, x1, x2 if crossed else None)
            np.testing.assert_allclose(got, dense(kernel, crossed), rtol=1e-9)


@pytest.mark.parametrize("kernel", KERNELS)
def test_matched_pairs_in_tiles(kernel):
    params, x1, _ = inputs()
    with x64():
        least = least_limit(kernel, "jacobians", False, pairs="matched")
        for limit in (least, 1.5 * least):
            plan = planned(
                kernel, "jacobians", False, float(np.ceil(limit)), pairs="matched"
            )
            assert "tiles" in str(plan) or "at a time" in str(plan)
            got = plan.compile()(params, x1)
            wanted = dense(kernel, False)[np.arange(N1), np.arange(N1)]
            np.testing.assert_allclose(got, wanted, rtol=1e-9)


def test_a_plan_says_its_tiles_and_why():
    with x64():
        least = least_limit("full", "jacobians", True)
        plan = planned("full", "jacobians", True, 2 * least)
    tiles, search = plan.notes
    assert tiles.startswith("in tiles of ")
    assert "only those by halving were compared" in search
    for note in plan.notes:
        assert note in str(plan)
        assert note in plan.source().replace("\n", " ")


@pytest.mark.parametrize(("kernel", "summed"), [("full", False), ("trace", True)])
def test_results_are_added_up_only_where_some_are(kernel, summed):
    with x64():
        least = least_limit(kernel, "jacobians", True)
        source = planned(kernel, "jacobians", True, least).source()
    assert ("over_tiles(outputs1, basis, 1, None)" in source) == summed
    assert ("if axis is None:" in source) == summed


def test_an_explanation_says_what_is_of_all_tiles_and_what_of_one():
    with x64():
        limit = 2 * least_limit("full", "jacobians", False)
        plan = planned("full", "jacobians", False, limit)
        whole = planned("full", "jacobians", False, None)
    formulas = plan.formulas_of("head")
    count = formulas.n_tiles
    assert count > 1
    (layer,) = (layer for layer in plan.layers if layer.path == "head")
    rows, columns = re.findall(r"tiles of (\d+) x (\d+) examples,", plan.notes[0])[0]
    sizes = {"n1": int(rows), "n2": int(columns), "n_outputs": N_OUTPUTS}
    of_one = sympy.sympify(
        formulas.candidates[f"{layer.method} {layer.order}"]["flops"]
    )
    assert layer.chosen.flops == count * float(of_one.subs(sizes))
    text = plan.explain("head")
    assert f"Flops, bytes and seconds are those of all {count} tiles" in text
    assert "Alone, in one tile, whose rows, columns and outputs are" in text
    assert "tile" not in whole.explain("head")
    again = ntkplan.Plan.from_json(plan.to_json())
    assert again.explain("head") == text


def test_tiles_take_any_number_of_examples():
    """The last tile may be shorter, and all examples fewer than a tile."""
    params, x1, _ = inputs()
    with x64():
        plan = planned(
            "full", "chosen", False, least_limit("full", "chosen", False) * 1.3
        )
        kernel = plan.compile()
        wanted = dense("full", False)
        for count in (1, 3, N1):
            np.testing.assert_allclose(
                kernel(params, x1[:count]), wanted[:count, :count], rtol=1e-9
            )


def test_tiles_under_transformations():
    params, x1, x2 = inputs()
    with x64():
        plan = planned(
            "trace", "jacobians", True, least_limit("trace", "jacobians", True)
        )
        kernel = plan.compile()
        whole = planned("trace", "jacobians", True, "1GiB").compile()

        def summed(function):
            return jax.grad(lambda params: jnp.sum(function(params, x1, x2) ** 2))

        for got, wanted in zip(
            jax.tree.leaves(summed(kernel)(params)),
            jax.tree.leaves(summed(whole)(params)),
            strict=True,
        ):
            np.testing.assert_allclose(got, wanted, rtol=1e-9)
        batches = jnp.stack([x1, x1[::-1]])
        got = jax.vmap(lambda x: kernel(params, x, jnp.asarray(x2)))(batches)
        np.testing.assert_allclose(got[1], dense("trace", True)[::-1], rtol=1e-9)


@pytest.mark.parametrize(
    "kernel",
    [
        "full",
        pytest.param("trace", marks=pytest.mark.slow),
        pytest.param("diagonal", marks=pytest.mark.slow),
    ],
)
def test_tiles_that_are_mirrored_under_transformations(kernel):
    params, x1, _ = inputs()
    with x64():
        limit = least_limit(kernel, "jacobians", False)
        tiled = planned(kernel, "jacobians", False, limit).compile()
        whole = planned(kernel, "jacobians", False, "1GiB").compile()
        weights = np.random.default_rng(1).normal(size=whole(params, x1).shape)
        found, wanted = (
            jax.grad(lambda p, each=each: jnp.sum(weights * each(p, x1)))(params)
            for each in (tiled, whole)
        )
        for name in params:
            np.testing.assert_allclose(found[name], wanted[name], rtol=1e-9)
        batches = jnp.stack([x1, x1[::-1]])
        got = jax.vmap(lambda x: tiled(params, x))(batches)
        reverse = dense(kernel, False)[::-1, ::-1]
        np.testing.assert_allclose(got[1], reverse, rtol=1e-9)


def test_tiles_above_the_diagonal_are_not_computed():
    params, x1, _ = inputs()
    with x64():
        limit = 1.2 * least_limit("full", "jacobians", False)
        alone, crossed = (
            ntkplan.plan(
                model,
                params,
                x1,
                other,
                methods="jacobian_contraction",
                memory_limit=limit,
            )
            for other in (None, x1)
        )
    assert "over_lower_tiles" in alone.source()
    assert "over_lower_tiles" not in crossed.source()
    tiles = [plan.notes[0].split(",")[0] for plan in (alone, crossed)]
    assert tiles[0] == tiles[1]
    flops = [
        sum(leaf.chosen.flops for leaf in plan.layers) for plan in (alone, crossed)
    ]
    assert 0.5 * flops[1] < flops[0] < 0.75 * flops[1]


def test_a_saved_file_has_its_tiles(tmp_path):
    params, x1, _ = inputs()
    with x64():
        plan = planned("full", "mixed", False, least_limit("full", "mixed", False))
    path = plan.save(tmp_path / "kernel_file.py")
    np.savez(tmp_path / "inputs.npz", x1=x1, **params)
    script = (
        "import json, jax, numpy; jax.config.update('jax_enable_x64', True)\n"
        "import kernel_file\n"
        "given = dict(numpy.load('inputs.npz')); x1 = given.pop('x1')\n"
        "print(json.dumps(kernel_file.kernel(given, x1).tolist()))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=path.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    np.testing.assert_allclose(json.loads(run.stdout), dense("full", False), rtol=1e-9)


def test_the_whole_batch_has_tiles_of_outputs():
    params, x1, _ = inputs()
    with x64():
        options = {"methods": "jacobian_contraction", "batch_axis": None}
        with pytest.raises(MemoryLimitError) as refused:
            ntkplan.plan(model, params, x1, memory_limit=1, **options)
        limit = refused.value.least_bytes
        plan = ntkplan.plan(model, params, x1, memory_limit=limit, **options)
        assert "examples and 1 output," in plan.notes[0]
        got = plan.compile()(params, x1)
    np.testing.assert_allclose(got, dense("full", False), rtol=1e-9)


@pytest.mark.optimised
def test_memory_that_the_compiler_needs():
    """Tiles keep what is compiled near the limit, far below what all at once needs."""
    generator = np.random.default_rng(0)
    params = [generator.normal(size=(64, 256)), generator.normal(size=(256, 8))]
    params = [leaf.astype(np.float32) for leaf in params]
    x = generator.normal(size=(48, 64)).astype(np.float32)

    def f(params, x):
        return jnp.tanh(x @ params[0]) @ params[1]

    options = {"methods": "jacobian_contraction"}
    whole = ntkplan.plan(f, params, x, **options).compile(check_memory=True)
    limit = 0.25 * whole.memory.compiled_bytes
    tiled = ntkplan.plan(f, params, x, memory_limit=limit, **options)
    assert tiled.notes
    memory = tiled.compile(check_memory=True).memory
    assert memory.compiled_bytes <= limit
    assert 0.5 <= memory.estimated_bytes / memory.compiled_bytes <= 1.5
    np.testing.assert_allclose(
        tiled.compile()(params, x), whole(params, x), rtol=2e-3, atol=1e-3
    )


def test_memory_is_not_checked_by_the_compiler_of_another_platform():
    params, x1, _ = inputs()
    plan = ntkplan.plan(model, params, x1, device="tpu_v5e")
    with pytest.raises(
        ConflictingOptionsError, match=r"cpu.*tpu_v5e.*\n.*device='cpu'"
    ):
        plan.compile(check_memory=True)


def test_a_compiled_kernel_beyond_the_limit_is_an_error():
    """The compiler's word counts: the limit is lowered after the plan was made."""
    params, x1, _ = inputs()
    plan = ntkplan.plan(model, params, x1, memory_limit="1GiB")
    assert plan.compile(check_memory=True).memory.compiled_bytes > 1024
    cost = dataclasses.replace(plan.cost, memory_limit_bytes=1024)
    with pytest.raises(MemoryExceededError, match="memory_limit is 1KiB"):
        dataclasses.replace(plan, cost=cost).compile(check_memory=True)
