import json
import statistics
from pathlib import Path

import pytest

from benchmarks.targets import compiled, hlo
from benchmarks.targets.__main__ import evaluate
from benchmarks.targets.compilers import missing
from benchmarks.targets.datasheets import DATASHEETS
from benchmarks.targets.devices import TARGETS
from benchmarks.targets.fit import Sample, fit, scaled
from benchmarks.targets.programs import contractions
from benchmarks.targets.regret import choice, shape_row, summary
from benchmarks.targets.shapes import EVALUATED, FITTED, SHAPES, drawn
from ntkplan.cost.device import load_profile
from ntkplan.cost.formulas import seconds
from ntkplan.cost.profile import Origin

RESULTS = Path(compiled.__file__).resolve().parents[1] / "results"
SMALL = ("dense_wide_one_output", "scale")

LOOP = """
%body (arg: (s32[], f32[4])) -> (s32[], f32[4]) {
  %arg = (s32[], f32[4]{0:T(128)}) parameter(0)
  %one = f32[4]{0:T(128)} get-tuple-element(%arg), index=1
  %work = f32[4]{0:T(128)} fusion(%one), {COST}
  ROOT %out = (s32[], f32[4]{0:T(128)}) tuple(%one, %work)
}

ENTRY %main (a: f32[4]) -> f32[4] {
  %a = f32[4]{0} parameter(0)
  %first = f32[4]{0} fusion(%a), {COST}
  %loop = (s32[], f32[4]{0}) while(%a), condition=%c, body=%body, {TRIPS}
  ROOT %end = f32[4]{0} get-tuple-element(%loop), index=1
}
"""
TRIPS = 'backend_config={"known_trip_count":{"n":"7"}}'
CYCLES = 'backend_config={"window_config":{"estimated_cycles":"1500"}}'
COSTS = (
    'backend_config={"reification_cost":['
    '{"exec_time_us":90.0,"name":"indexing-cost-model"},'
    '{"exec_time_us":2.0,"name":""}]}'
)


def results(name):
    return json.loads((RESULTS / f"targets_{name}.json").read_text("utf-8"))


@pytest.mark.parametrize("name", TARGETS)
def test_committed_regret_is_at_most_ten_percent(name):
    found = results(name)
    assert found["estimate"] == "compiler"
    assert [row["shape"] for row in found["rows"]] == [one.name for one in EVALUATED]
    regrets = []
    for row in found["rows"]:
        runs = [order for order in row["orders"] if "estimated_s" in order]
        chosen = min(runs, key=lambda order: order["predicted_s"])
        least = min(order["estimated_s"] for order in runs)
        assert chosen["order"] == row["chosen"]
        regrets.append(chosen["estimated_s"] / least - 1)
    assert statistics.mean(regrets) == pytest.approx(found["mean_regret_fraction"])
    assert statistics.mean(regrets) <= 0.10


@pytest.mark.parametrize("name", TARGETS)
def test_committed_results_are_of_the_orders_that_there_are(name):
    rows = {row["shape"]: row for row in results(name)["rows"]}
    for shape in EVALUATED:
        orders = {item.order for item in contractions(shape)}
        assert {order["order"] for order in rows[shape.name]["orders"]} == orders


@pytest.mark.parametrize("name", TARGETS)
def test_committed_estimates_are_nowhere_called_measured(name):
    text = (RESULTS / f"targets_{name}.json").read_text("utf-8")
    assert '"measured"' not in text
    shipped = load_profile(name).provenance
    assert shipped.origin is not Origin.MEASURED
    fitted = "fit" in results(name)
    assert fitted == (shipped.origin is Origin.COMPILER_ESTIMATE)
    assert fitted == ("nobody measured" in shipped.notes)
    for sister in TARGETS[name].sisters:
        assert load_profile(sister).provenance.origin is Origin.DATASHEET


def test_shapes_to_fit_to_are_not_those_to_be_judged_by():
    def sizes(shape):
        return (shape.parameter, shape.x.shape, shape.n_outputs)

    others = (*FITTED, *drawn(3))
    assert len(EVALUATED) == 10
    assert not {sizes(shape) for shape in EVALUATED} & {sizes(one) for one in others}


@pytest.mark.parametrize("name", DATASHEETS)
def test_shipped_profiles_keep_the_datasheets_capacity_and_peak(name):
    sheet, shipped = DATASHEETS[name].profile("2026-01-01"), load_profile(name)
    assert shipped.memory == sheet.memory
    assert shipped.device_kind == sheet.device_kind
    for kind in ("dot", "convolution"):
        ours = shipped.rate(kind, "float32", "highest").peak_flops_per_s
        peak = sheet.rate(kind, "float32", "highest").peak_flops_per_s
        assert ours == pytest.approx(peak, rel=1e-3)


def test_loops_count_by_their_trips_in_cycles():
    text = LOOP.replace("{COST}", CYCLES).replace("{TRIPS}", TRIPS)
    found = hlo.read_estimate(text, TARGETS["tpu_v5e"])
    assert found.kernels == 8
    assert found.seconds == pytest.approx(8 * 1e-6)


def test_loops_count_by_their_trips_in_microseconds_and_launches():
    text = LOOP.replace("{COST}", COSTS).replace("{TRIPS}", TRIPS)
    found = hlo.read_estimate(text, TARGETS["nvidia_h100"])
    assert found.kernels == 8
    assert found.seconds == pytest.approx(8 * 3e-6)


@pytest.mark.parametrize(
    ("cost", "trips", "said"),
    [("calls=%x", TRIPS, "fusion has no estimate"), (CYCLES, "", "no known trip")],
)
def test_what_has_no_estimate_is_an_error(cost, trips, said):
    text = LOOP.replace("{COST}", cost).replace("{TRIPS}", trips)
    with pytest.raises(hlo.MissingEstimateError, match=said):
        hlo.read_estimate(text, TARGETS["tpu_v5e"])


def test_orders_without_an_estimate_are_no_candidates():
    orders = [
        {"order": "a", "predicted_s": 1.0, "error": "needs 1e+13 bytes"},
        {"order": "b", "predicted_s": 2.0, "estimated_s": 5.0},
        {"order": "c", "predicted_s": 3.0, "estimated_s": 4.0},
    ]
    assert choice(orders) == {"chosen": "b", "best": "c", "regret_fraction": 0.25}


def test_a_fit_finds_the_factors_that_made_the_estimates():
    start = DATASHEETS["nvidia_h100"].profile("2026-01-01")
    truth = {"elementwise": {"read_bytes_per_s": 0.4, "written_bytes_per_s": 0.4}}
    device = scaled(start, truth)
    samples = [
        Sample(
            shape=shape.name,
            work=item.work,
            estimated_s=seconds(
                item.work, device, dtype="float32", precision="highest"
            ),
        )
        for shape in FITTED[:6]
        for item in contractions(shape)
    ]
    learned = fit(start, {}, samples, samples)
    assert learned.median_error_fraction < 0.05
    assert learned.factors["elementwise"]["written_bytes_per_s"] < 0.8


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_a_compiler_agrees_with_the_choice(name):
    target = TARGETS[name]
    reason = missing(target.compiler)
    if reason:
        pytest.skip(reason)
    profile = load_profile(name)
    committed = {row["shape"]: row for row in results(name)["rows"]}
    rows = []
    for shape in (SHAPES[each] for each in SMALL):
        found = contractions(shape)
        wanted = [item for item in found if item.work.peak_bytes < 1e9]
        known = {item.digest: {"error": "too large"} for item in found}
        said = compiled.estimates(target, wanted, {}, lambda done, count: None)
        rows.append(shape_row(shape, found, known | said, profile))
        assert sum("estimated_s" in each for each in said.values()) >= 3
        best = min(
            each["estimated_s"] for each in said.values() if "estimated_s" in each
        )
        least = min(
            order["estimated_s"]
            for order in committed[shape.name]["orders"]
            if "estimated_s" in order
        )
        assert best == pytest.approx(least, rel=0.5)
    assert summary(rows)["mean_regret_fraction"] <= 0.10


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("nvidia_h100", id="nvidia_h100-1_minute"),
        pytest.param("tpu_v5e", id="tpu_v5e-20_minutes"),
    ],
)
def test_a_compiler_agrees_with_the_choice_for_all_ten_layers(name):
    reason = missing(TARGETS[name].compiler)
    if reason:
        pytest.skip(reason)
    found = evaluate(TARGETS[name], load_profile(name), EVALUATED, {})
    assert [row["shape"] for row in found["rows"]] == [one.name for one in EVALUATED]
    assert found["mean_regret_fraction"] <= 0.10
