"""The formulas of a plan against its figures."""

from __future__ import annotations

import itertools
import re

import jax.numpy as jnp
import pytest
import sympy

import ntkplan

WIDTHS = (12, 32, 24, 5)
PARAMS = [
    {"w": jnp.ones((first, second)), "b": jnp.ones(second)}
    for first, second in itertools.pairwise(WIDTHS)
]
SIZES = {"n1": 16, "n2": 9, "n_outputs": 5}


def perceptron(params, x):
    for layer in params:
        x = jnp.tanh(x @ layer["w"] + layer["b"])
    return x


def at_sizes(formula):
    named = {symbol: SIZES[symbol.name] for symbol in formula.free_symbols}
    return int(formula.subs(named))


@pytest.fixture(scope="module", params=[None, "ntk_vector_products"])
def plan(request):
    x1, x2 = jnp.ones((16, 12)), jnp.ones((9, 12))
    return ntkplan.plan(perceptron, PARAMS, x1, x2, methods=request.param, device="cpu")


def test_the_total_is_that_of_the_plan(plan):
    total = plan.symbolic.total
    assert at_sizes(total.flops) == pytest.approx(plan.cost.flops)
    moved = at_sizes(total.bytes_read) + at_sizes(total.bytes_written)
    assert moved == pytest.approx(plan.cost.bytes_moved)


def test_leaves_that_share_products_are_counted_as_if_alone(plan):
    symbolic = plan.symbolic
    alone = sum(work.flops for work in symbolic.layers.values())
    if plan.layers[0].method == "ntk_vector_products":
        assert alone == 0
    else:
        assert at_sizes(alone) > at_sizes(symbolic.contractions.flops) > 0


def test_formulas_are_printed_leaf_by_leaf(plan):
    text = str(plan.symbolic)
    first = [line.split()[0] for line in text.splitlines()[2:] if line.strip()]
    for name in (*(layer.path for layer in plan.layers), "forward", "total"):
        assert name in first
    assert "n1" in text


def test_every_candidate_is_explained_with_its_formulas(plan):
    (layer,) = [each for each in plan.layers if each.path == "1/w"]
    shown = explained_counts(plan.explain("1/w"))
    assert list(shown) == [f"{each.method} {each.order}" for each in layer.alternatives]
    for counts in shown.values():
        for count in ("flops", "bytes read", "launches"):
            assert at_sizes(sympy.sympify(counts[count])) > 0
    formula = shown["jacobian_contraction (C1 A1)(C2 A2)"]["flops"]
    # Jacobians of 32 x 24 entries, their products, and a sum with the other leaves'.
    by_hand = "n1*n2*n_outputs**2*(2*32*24 + 1) + (n1 + n2)*n_outputs*32*24"
    assert at_sizes(sympy.sympify(f"{formula} - ({by_hand})")) == 0


def explained_counts(text):
    """Reads the formulas of every candidate."""
    shown, name, count = {}, "", ""
    for line in text.partition("\n\nAlone:")[2].splitlines()[4:]:
        cells = re.split("  +", line)
        if len(cells) == 3:
            name, count = cells[0] or name, cells[1]
            shown.setdefault(name, {})[count] = cells[2]
        elif len(cells) == 2:
            shown[name][count] += f" {cells[1]}"
    return shown


def test_candidates_are_listed_cheapest_first(plan):
    text, _, _ = plan.explain("1/w").partition("\n\nAlone:")
    table, _, push = text.partition("\n\nntk_vector_products has no part of its own")
    rows = [line for line in table.splitlines()[4:] if "_" in line]
    (pushed,) = [line for line in rows if "pull back" in line]
    assert pushed.count("shared") == 4
    if plan.layers[0].method == "ntk_vector_products":
        assert "in this plan" in push
        assert "chosen" in pushed
    else:
        assert "for this leaf alone" in push
        assert rows[-1] is pushed
