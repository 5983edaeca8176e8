"""`tune=`: what is timed, what is kept, and what the plan says of it."""

from __future__ import annotations

import math
import random

import jax
import jax.numpy as jnp
import pytest

import ntkplan
from ntkplan.errors import (
    ConflictingOptionsError,
    NtkPlanWarning,
    UnknownOptionError,
)
from ntkplan.planner import cuts
from ntkplan.tuning import timer
from tests.oracles import dense_kernel, relative_error


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "ntkplan.tuning.cache.timings_folder", lambda: tmp_path / "timings"
    )
    # Two whole kernels are compiled more quickly than three.
    monkeypatch.setattr("ntkplan.tuning.rivals._MOST_RIVALS", 2)
    return tmp_path / "timings"


def timed_as(leaves=lambda number: 1e-6, kernels=lambda number: 1e-3):
    """Returns a timer that gives the n-th program of a race a price.

    What the programs compute is in `leaves` and `kernels`. The empty program, whose
    time is taken off those of leaves, costs nothing here.
    """

    def race(calls, budget_s, *, thorough=False):
        values = [call() for call in calls]
        if not values[0].ndim:
            return [measured(0.0)]
        # Kernels are called with params, a dictionary; leaves with arrays alone.
        whole = isinstance(calls[0].args[0], dict)
        (race.kernels if whole else race.leaves).append(values)
        assert thorough == whole
        price = kernels if whole else leaves
        return [measured(price(number)) for number in range(len(calls))]

    race.leaves, race.kernels = [], []
    return race


def last_wins(number):
    return 1e-3 / (1 + number)


def measured(seconds, doubt=0.0):
    return timer.Measured(seconds=seconds, least_s=seconds, doubt=doubt)


def never(calls, budget_s, *, thorough=False):
    raise AssertionError("something was timed")


@pytest.fixture
def network():
    """A model of two layers, quick to compile."""
    keys = jax.random.split(jax.random.key(0), 3)
    params = {
        "w1": jax.random.normal(keys[0], (6, 8)),
        "w2": jax.random.normal(keys[1], (8, 3)),
    }
    x = jax.random.normal(keys[2], (5, 6))
    return lambda params, x: jnp.tanh(x @ params["w1"]) @ params["w2"], params, x


@pytest.fixture
def equal_layers():
    """A model with two layers of one form."""
    keys = jax.random.split(jax.random.key(0), 3)
    params = {
        "w1": jax.random.normal(keys[0], (4, 4)),
        "w2": jax.random.normal(keys[1], (4, 4)),
    }
    x = jax.random.normal(keys[2], (5, 4))
    return lambda p, x: jnp.tanh(jnp.tanh(x @ p["w1"]) @ p["w2"]), params, x


def of(plan):
    return [(layer.path, layer.method, layer.order) for layer in plan.layers]


def test_the_timer_decides(network, monkeypatch):
    f, params, x = network
    untuned = ntkplan.plan(f, params, x)
    layer = next(layer for layer in untuned.layers if layer.path == "w1")
    # Every first program of a race is slow: the model's favourite never wins.
    slow_first = timed_as(
        lambda n: 1e-6 if n else 1.0, kernels=lambda n: 1e-3 if n else 2e-3
    )
    monkeypatch.setattr(timer, "race", slow_first)
    plan = ntkplan.plan(f, params, x, tune=60)
    tuned = next(layer for layer in plan.layers if layer.path == "w1")
    assert (tuned.method, tuned.order) != (layer.method, layer.order)
    assert tuned.chosen.measured_seconds is not None
    assert relative_error(plan.compile()(params, x), dense_kernel(f, params, x)) < 2e-5


def test_a_tuned_plan_takes_turns_only_where_an_untuned_one_does(network, monkeypatch):
    monkeypatch.setattr(timer, "race", timed_as())
    f, params, x = network
    untuned = ntkplan.plan(f, params, x)
    tuned = ntkplan.plan(f, params, x, tune=True)
    assert not untuned.cost.in_turn
    assert not tuned.cost.in_turn


def test_layers_of_one_form_are_timed_once(equal_layers, monkeypatch):
    f, params, x = equal_layers
    race = timed_as()
    monkeypatch.setattr(timer, "race", race)
    plan = ntkplan.plan(f, params, x, tune=60)
    by_path = {layer.path: layer for layer in plan.layers}
    assert by_path["w1"].chosen.measured_seconds == pytest.approx(
        by_path["w2"].chosen.measured_seconds
    )
    assert len(race.leaves) == 1


def test_timed_candidates_give_the_leaf_s_part(network, monkeypatch):
    """What is timed is the whole of a leaf's part: all rivals of a race agree."""
    f, params, x = network
    race = timed_as()
    monkeypatch.setattr(timer, "race", race)
    ntkplan.plan(f, params, x, x[:3], tune=60)
    assert_rivals_agree([*race.leaves, *race.kernels])


def assert_rivals_agree(groups):
    """Holds where no sum over positions lets taps stand later, on other arrays."""
    assert groups
    for group in groups:
        first, *others = group
        assert others
        for other in others:
            assert relative_error(other, first) < 1e-4


def test_a_second_run_measures_nothing(network, monkeypatch):
    f, params, x = network
    first = ntkplan.plan(f, params, x, tune=60)
    assert first.tuning.n_timed > 0
    monkeypatch.setattr(timer, "race", never)
    second = ntkplan.plan(f, params, x, tune=60)
    assert of(second) == of(first)
    assert second.tuning.n_timed == 0
    assert second.tuning.n_cached >= first.tuning.n_timed
    assert "all from the cache" in str(second)


@pytest.mark.parametrize(
    ("count", "options"),
    [(7, {}), (5, {"kernel": "trace"}), (5, {"precision": "highest"})],
)
def test_another_problem_is_measured_anew(
    network, own_cache, monkeypatch, count, options
):
    f, params, x = network
    monkeypatch.setattr(timer, "race", timed_as())
    ntkplan.plan(f, params, x, tune=60)
    monkeypatch.setattr(timer, "race", never)
    with pytest.raises(AssertionError, match="was timed"):
        ntkplan.plan(f, params, jnp.ones((count, 6)), tune=60, **options)


def test_a_corrupt_cache_is_made_anew(network, own_cache, monkeypatch):
    f, params, x = network
    monkeypatch.setattr(timer, "race", timed_as())
    ntkplan.plan(f, params, x, tune=60)
    (path,) = own_cache.iterdir()
    path.write_text("{")
    with pytest.warns(NtkPlanWarning, match="is ignored and made anew"):
        plan = ntkplan.plan(f, params, x, tune=60)
    assert plan.tuning.n_timed > 0
    assert ntkplan.plan(f, params, x, tune=60).tuning.n_timed == 0


def test_no_time_means_no_timing(network, monkeypatch):
    f, params, x = network
    monkeypatch.setattr(timer, "race", never)
    plan = ntkplan.plan(f, params, x, tune=1e-9)
    assert of(plan) == of(ntkplan.plan(f, params, x))
    assert plan.tuning.n_timed == 0


def test_what_does_not_fit_is_not_timed(network, monkeypatch):
    f, params, x = network
    monkeypatch.setattr(timer, "race", never)
    monkeypatch.setattr("ntkplan.tuning.session.free_bytes", lambda profile: 64.0)
    assert ntkplan.plan(f, params, x, tune=60).tuning.n_timed == 0


def test_kernels_in_other_tiles_are_timed(network, monkeypatch):
    f, params, x = network
    x = jnp.tile(x, (8, 1))
    options = {"methods": "jacobian_contraction"}
    limit = 0.6 * ntkplan.plan(f, params, x, **options).cost.peak_bytes
    options["memory_limit"] = limit
    untuned = ntkplan.plan(f, params, x, **options)
    race = timed_as(kernels=last_wins)
    monkeypatch.setattr(timer, "race", race)
    monkeypatch.setattr("ntkplan.tuning.rivals._MOST_RIVALS", 3)
    plan = ntkplan.plan(f, params, x, tune=60, **options)
    tiles, untuned_tiles = (
        [note for note in each.notes if note.startswith("in tiles of")]
        for each in (plan, untuned)
    )
    assert len(tiles) == len(untuned_tiles) == 1
    assert tiles != untuned_tiles
    assert "other tiles" in plan.tuning.plans[0].what
    assert plan.cost.peak_bytes <= limit
    assert_rivals_agree(race.kernels)
    assert relative_error(plan.compile()(params, x), dense_kernel(f, params, x)) < 2e-5


def test_a_leaf_s_part_in_tiles_is_timed_for_all_of_them(monkeypatch):
    keys = jax.random.split(jax.random.key(0), 3)
    params = {
        "w1": jax.random.normal(keys[0], (16, 32)),
        "w2": jax.random.normal(keys[1], (32, 10)),
    }
    x = jax.random.normal(keys[2], (32, 16))

    def f(params, x):
        return jnp.tanh(x @ params["w1"]) @ params["w2"]

    limit = 0.6 * ntkplan.plan(f, params, x).cost.peak_bytes
    monkeypatch.setattr(timer, "race", timed_as(leaves=lambda number: 2.0**-10))
    plan = ntkplan.plan(f, params, x, memory_limit=limit, tune=60)
    measured_s = {
        item.measured_seconds for layer in plan.layers for item in layer.alternatives
    } - {None}
    assert measured_s
    n_tiles = {round(each * 2**10) for each in measured_s}
    assert len(n_tiles) == 1
    assert min(n_tiles) > 2


@pytest.mark.parametrize("cut_is_slow", [False, True])
def test_a_model_that_is_cut_is_timed_against_one_that_is_not(cut_is_slow, monkeypatch):
    monkeypatch.setattr(cuts, "NEEDED_GAIN", 0.0)
    keys = jax.random.split(jax.random.key(0), 4)
    shapes = {"first": (6, 5), "second": (5, 3), "head": (3, 24)}
    params = {
        name: jax.random.normal(key, shape)
        for key, (name, shape) in zip(keys, shapes.items(), strict=False)
    }
    x = jax.random.normal(keys[3], (5, 6))

    def f(params, x):
        hidden = jnp.tanh(jnp.tanh(x @ params["first"]) @ params["second"])
        return hidden @ params["head"]

    assert "values at the cut" in str(ntkplan.plan(f, params, x))
    race = timed_as(kernels=last_wins if cut_is_slow else lambda number: 1e-3)
    monkeypatch.setattr(timer, "race", race)
    monkeypatch.setattr("ntkplan.tuning.rivals._MOST_RIVALS", 3)
    plan = ntkplan.plan(f, params, x, tune=60)
    assert ("without a cut" in plan.tuning.plans[0].what) == cut_is_slow
    assert ("values at the cut" in str(plan)) != cut_is_slow
    assert race.leaves
    assert_rivals_agree(race.kernels)
    assert relative_error(plan.compile()(params, x), dense_kernel(f, params, x)) < 2e-5


def test_the_plan_says_what_was_measured(network, monkeypatch):
    f, params, x = network
    monkeypatch.setattr(
        timer, "race", timed_as(kernels=lambda number: 1e-3 * (number + 1))
    )
    plan = ntkplan.plan(f, params, x, tune=60)
    text = str(plan)
    assert f"{plan.tuning.n_timed} programs timed" in text
    total = next(line for line in text.splitlines() if line.startswith("total"))
    assert " predicted (1 ms measured): call " in total
    measured = [layer for layer in plan.layers if layer.chosen.measured_seconds]
    explained = plan.explain(measured[0].path)
    assert "predicted alone" in explained
    assert "measured alone" in explained
    assert "tuned" not in str(ntkplan.plan(f, params, x))


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"kernel": "trace"}, marks=pytest.mark.slow),
        {"kernel": "diagonal", "pairs": "matched"},
        pytest.param({"batch_axis": None}, marks=pytest.mark.slow),
        pytest.param({"methods": "jacobian_contraction"}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_every_kernel_can_be_tuned(network, options):
    f, params, x = network
    plan = ntkplan.plan(f, params, x, tune=60, **options)
    untuned = ntkplan.plan(f, params, x, **options)
    got, wanted = plan.compile()(params, x), untuned.compile()(params, x)
    assert relative_error(got, wanted) < 2e-5


def test_shapes_and_integers_are_enough(monkeypatch):
    race = timed_as()
    monkeypatch.setattr(timer, "race", race)
    params = {
        "table": jax.ShapeDtypeStruct((11, 4), jnp.float32),
        "w": jax.ShapeDtypeStruct((4, 3), jnp.bfloat16),
    }
    tokens = jax.ShapeDtypeStruct((3, 5), jnp.int32)

    def f(params, x):
        return jnp.tanh(params["table"][x])[:, 0] @ params["w"].astype(jnp.float32)

    ntkplan.plan(f, params, tokens, tune=60)
    assert len(race.leaves) == 2
    # The table alone: the other leaf is of 16 bits.
    assert_rivals_agree(race.leaves[:1])


@pytest.mark.slow
def test_convolutions_and_loops_can_be_tuned(monkeypatch):
    race = timed_as()
    monkeypatch.setattr(timer, "race", race)
    keys = jax.random.split(jax.random.key(1), 3)
    params = {
        "conv": jax.random.normal(keys[0], (3, 3, 2, 4)),
        "steps": jax.random.normal(keys[1], (3, 4, 4)),
    }
    x = jax.random.normal(keys[2], (2, 6, 6, 2))

    def f(params, x):
        x = jax.lax.conv_general_dilated(
            x,
            params["conv"],
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        x = jnp.tanh(x)[:, 2, 3]
        return jax.lax.scan(lambda h, w: (jnp.tanh(h @ w), None), x, params["steps"])[0]

    plan = ntkplan.plan(f, params, x, tune=60)
    assert_rivals_agree([*race.leaves, *race.kernels])
    assert relative_error(plan.compile()(params, x), dense_kernel(f, params, x)) < 2e-5


def test_a_plan_at_other_sizes_is_tuned_at_these(network, monkeypatch):
    f, params, x = network
    race = timed_as()
    monkeypatch.setattr(timer, "race", race)
    plan = ntkplan.plan(f, params, x, tune=60)
    assert not any(value.shape[:1] == (9,) for group in race.leaves for value in group)
    larger = plan.at(n1=9)
    assert any(value.shape[:1] == (9,) for group in race.leaves for value in group)
    assert larger.tuning is not None


@pytest.mark.slow
def test_a_tree_of_outputs_is_tuned_output_by_output(network):
    f, params, x = network
    plan = ntkplan.plan(
        lambda p, x: {"a": f(p, x), "b": f(p, x)[:, :2]}, params, x, tune=60
    )
    assert [plan.outputs[name].tuning.budget_s for name in ("a", "b")] == [30, 30]


def test_a_device_that_is_not_there_cannot_be_tuned_for(network):
    f, params, x = network
    with pytest.raises(ConflictingOptionsError, match="device that is present"):
        ntkplan.plan(f, params, x, tune=True, device="tpu_v5e")


@pytest.mark.parametrize("tune", [-1, 0, "fast", float("nan"), None])
def test_a_budget_is_a_positive_number(network, tune):
    f, params, x = network
    with pytest.raises(UnknownOptionError, match="tune"):
        ntkplan.plan(f, params, x, tune=tune)


def test_a_race_times_all_programs_and_ends():
    calls = [lambda: jnp.ones(2), lambda: jnp.ones(3)]
    for found in (timer.race(calls, 0.0), timer.race(calls, 0.5, thorough=True)):
        assert len(found) == 2
        assert all(0 < item.least_s <= 60 for item in found)
        assert all(0 < item.seconds <= 60 for item in found)
        assert found[0].doubt == 0


def noisy_clock(monkeypatch, factors, noise):
    """Lets programs take as long as said, times what disturbs all, times own noise."""
    generator = random.Random(3)
    turns = []

    def turn(call, *, warm):
        if not turns or len(turns[-1]) == len(factors):
            turns.append([])
            generator.shared = math.exp(generator.gauss(0, 0.5))
        turns[-1].append(call)
        own = math.exp(generator.gauss(0, noise))
        return [1e-3 * factors[call()] * generator.shared * own]

    monkeypatch.setattr(timer, "_turn", turn)
    monkeypatch.setattr(timer, "_seconds", lambda call: 1.0)
    return turns


def test_a_disturbance_of_all_programs_hides_no_difference(monkeypatch):
    turns = noisy_clock(monkeypatch, [1.0, 0.9, 1.1], noise=0.001)
    first, faster, slower = timer.race(
        [lambda: 0, lambda: 1, lambda: 2], 60.0, thorough=True
    )
    assert faster.seconds / first.seconds == pytest.approx(0.9, rel=0.01)
    assert faster.beats(first)
    assert not slower.beats(first)
    assert len(turns) == 9


def test_what_may_be_noise_is_timed_longer_and_does_not_win(monkeypatch):
    turns = noisy_clock(monkeypatch, [1.0, 0.97], noise=0.3)
    first, other = timer.race([lambda: 0, lambda: 1], 60.0, thorough=True)
    assert not other.beats(first)
    assert len(turns) == 36


@pytest.mark.parametrize(("doubt", "is_taken"), [(0.001, True), (0.1, False)])
def test_the_model_s_choice_stays_unless_another_is_surely_faster(
    network, monkeypatch, doubt, is_taken
):
    """The same holds of timings from the cache."""
    f, params, x = network
    race = timed_as(lambda n: 1e-6 if n else 1.0)

    def doubtful(calls, budget_s, *, thorough=False):
        found = race(calls, budget_s, thorough=thorough)
        if not thorough:
            return found
        return [measured(1.0), measured(0.9, doubt)]

    monkeypatch.setattr(timer, "race", doubtful)
    plan = ntkplan.plan(f, params, x, tune=60)
    monkeypatch.setattr(timer, "race", never)
    again = ntkplan.plan(f, params, x, tune=60)
    for each in (plan, again):
        assert (each.tuning.plans[0].what != "the model's choice") == is_taken
        assert (of(each) != of(ntkplan.plan(f, params, x))) == is_taken
        seconds = [item.measured_seconds for item in each.tuning.plans]
        assert seconds == ([0.9, 1.0] if is_taken else [1.0, 0.9])
