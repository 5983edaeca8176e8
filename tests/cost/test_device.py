import dataclasses
import math
import tomllib
import warnings

import pytest

from ntkplan.cost import device
from ntkplan.cost.device import (
    available_profiles,
    load_profile,
    profile_for,
    user_folder,
)
from ntkplan.cost.profile import Fit, Origin, Platform
from ntkplan.cost.profile_text import profile_text
from ntkplan.cost.schema import profile_from_fields
from ntkplan.errors import (
    InvalidDeviceProfileError,
    NtkPlanWarning,
    UnknownDeviceError,
)
from tests.cost import profiles


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def changed(path: str, value) -> dict:
    """Returns the toy's fields with one of them changed, or left out for None."""
    fields = profiles.fields()
    *tables, name = path.split(".")
    table = fields
    for part in tables:
        table = table[int(part)] if part.isdigit() else table[part]
    if value is None:
        del table[name]
    else:
        table[name] = value
    return fields


@pytest.mark.parametrize(
    ("path", "value", "field", "reason"),
    [
        ("cores", None, "cores", "is missing"),
        ("rates.0.read_bytes_per_s", None, "rates[0].read_bytes_per_s", "is missing"),
        ("rates.1.overhead_s", "1", "rates[1].overhead_s", "is str, not a number"),
        ("rates.0.peak_flops_per_s", math.nan, "rates[0].peak_flops_per_s", "is nan"),
        ("rates.0.peak_flops_per_s", math.inf, "rates[0].peak_flops_per_s", "is inf"),
        ("rates.0.peak_flops_per_s", 0.0, "rates[0].peak_flops_per_s", "is 0"),
        ("rates.0.peak_flops_per_s", True, "rates[0].peak_flops_per_s", "is bool"),
        ("launch.call_overhead_s", -1.0, "launch.call_overhead_s", "not be negative"),
        ("memory.usable_bytes", 0.5, "memory.usable_bytes", "not a whole number"),
        ("memory.usable_bytes", 2000000, "memory.usable_bytes", "capacity_bytes"),
        ("memory.scratch_margin_fraction", 1.0, "memory.scratch_margin", "not below 1"),
        ("rates.0.peak_flops", 1e9, "rates[0].peak_flops", "peak_flops_per_s"),
        ("rates.0.overhead", 1e9, "rates[0].overhead", "no unit in its name"),
        ("launch.colour", 1, "launch.colour", "is not known"),
        ("platform", "abacus", "platform", "cpu, gpu, tpu"),
        ("provenance.origin", "guess", "provenance.origin", "datasheet"),
        ("provenance.sources", "me", "provenance.sources", "not an array"),
        ("provenance.sources", [], "provenance.sources", "is empty"),
        ("provenance.date", "yesterday", "provenance.date", "2026-01-31"),
        ("rates.0.cache_speedup", 0.5, "rates[0].cache_speedup", "is below 1"),
        ("rates.0.kind", "elementwise", "rates", "repeats"),
        ("rates.0.kind", "gather", "rates", "no float32 dot"),
        ("rates.0.variant", "sloppy", "rates[0].variant", "grouped"),
        ("rates.0.variant", "vector", "rates", "no float32 dot"),
        ("rates.0.precision", "sloppy", "rates[0].precision", "highest"),
        ("rates.0.far_stride_bytes", 64, "far_read_bytes_per_s", "must be positive"),
        ("memory", 3, "memory", "is int, not a table"),
        ("schema_version", 2, "schema_version", "is 2, not 1"),
        ("schema_version", None, "schema_version", "is missing"),
    ],
)
def test_a_bad_profile_is_refused_with_field_and_reason(path, value, field, reason):
    with pytest.raises(InvalidDeviceProfileError) as caught:
        profile_from_fields(changed(path, value), where="toy.toml")
    assert field in caught.value.field
    assert reason in caught.value.reason
    assert "toy.toml" in str(caught.value)


def estimated(samples, **provenance) -> dict:
    """Returns the toy's fields as a compiler's estimate, with samples."""
    fields = changed("rates.0.fit", {**FIT, "samples": samples})
    fields["provenance"].update(
        {"origin": "compiler_estimate", "jaxlib_version": "1.2"} | provenance
    )
    return fields


FIT = {
    "median_error_fraction": 0.1,
    "held_out_median_error_fraction": 0.1,
    "held_out_p90_error_fraction": 0.1,
}


def test_samples_of_the_wrong_width_are_refused():
    with pytest.raises(InvalidDeviceProfileError, match="columns"):
        profile_from_fields(estimated([[1.0, 2.0]]), where="toy")


def test_what_a_compiler_estimates_is_never_called_measured():
    row = [1.0] * 11
    profile_from_fields(estimated([row]), where="toy")
    refused = {
        "rates[1].fit.samples": {
            "origin": "measured",
            "jax_version": "1",
            "jaxlib_version": "1",
        },
        "provenance.jax_version": {"origin": "measured"},
        "provenance.plugin_versions": {"jaxlib_version": ""},
        "rates[0].fit.samples": {"origin": "datasheet"},
    }
    for field, provenance in refused.items():
        with pytest.raises(InvalidDeviceProfileError) as caught:
            profile_from_fields(estimated([row], **provenance), where="toy")
        assert caught.value.field == field


def test_writing_and_reading_gives_the_same_profile():
    profile = profiles.toy()
    fit = Fit(
        median_error_fraction=0.1,
        held_out_median_error_fraction=0.2,
        held_out_p90_error_fraction=0.3,
        samples=(tuple(map(float, range(11))), (1.5,) * 11),
        correction_reach=1.5,
        correction_noise=0.1,
    )
    rates = (dataclasses.replace(profile.rates[0], fit=fit), *profile.rates[1:])
    estimated = dataclasses.replace(
        profile.provenance, origin=Origin.COMPILER_ESTIMATE, jaxlib_version="1.2"
    )
    profile = dataclasses.replace(profile, rates=rates, provenance=estimated)
    text = profile_text(profile)
    assert profile_from_fields(tomllib.loads(text), where="text") == profile


def test_every_shipped_profile_is_valid_and_says_where_it_comes_from():
    names = {profile.name: profile for profile in available_profiles()}
    assert names["x86_64_cpu"].provenance.origin is Origin.MEASURED
    assert {"nvidia_a100", "nvidia_h100", "nvidia_h200", "tpu_v4", "tpu_v5e"} <= {
        *names
    }
    assert {"tpu_v5p", "tpu_v6e"} <= {*names}
    for profile in names.values():
        source = profile.provenance
        assert source.sources
        measured = source.origin is Origin.MEASURED
        on_paper = source.origin is Origin.DATASHEET
        assert on_paper != bool(source.jax_version)
        assert measured == all(rate.fit is not None for rate in profile.rates)


def test_a_calibrated_profile_comes_first():
    mine = dataclasses.replace(load_profile("x86_64_cpu"), cores=77)
    mine.save(user_folder() / "x86_64_cpu.toml")
    assert load_profile("x86_64_cpu").cores == 77
    assert load_profile("cpu").cores == 77
    assert profile_for("cpu", "cpu").cores == 77


def test_a_broken_calibrated_profile_is_ignored_with_a_warning():
    user_folder().mkdir(parents=True)
    (user_folder() / "x86_64_cpu.toml").write_text("schema_version = ")
    with pytest.warns(NtkPlanWarning, match="`ntkplan calibrate`"):
        profile = load_profile("x86_64_cpu")
    assert profile.provenance.origin is Origin.MEASURED
    for look_up in (lambda: load_profile("cpu"), lambda: profile_for("cpu", "cpu")):
        with pytest.warns(NtkPlanWarning) as told:
            look_up()
        assert len(told) == 1


def test_profiles_are_loaded_by_name_path_platform_and_as_they_are(tmp_path):
    toy = profiles.toy()
    toy.save(tmp_path / "mine.toml")
    assert load_profile(str(tmp_path / "mine.toml")) == toy
    assert load_profile(tmp_path / "mine.toml") == toy
    assert load_profile(toy) is toy
    assert load_profile("nvidia_h200").device_kind == "NVIDIA H200"
    assert load_profile("cpu").platform is Platform.CPU


@pytest.mark.parametrize("name", ["abacus", "gpu", "no/such/file.toml"])
def test_an_unknown_device_is_refused_with_those_there_are(name):
    with pytest.raises(UnknownDeviceError, match=r"nvidia_h200.*tpu_v5e"):
        load_profile(name)


def test_a_file_that_is_not_toml_is_refused(tmp_path):
    (tmp_path / "bad.toml").write_text("][")
    with pytest.raises(InvalidDeviceProfileError, match="not TOML"):
        load_profile(tmp_path / "bad.toml")


def test_a_running_device_gets_its_profile_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert profile_for("gpu", "NVIDIA H200").name == "nvidia_h200"
        assert profile_for("tpu", "TPU v5 lite").name == "tpu_v5e"
        assert profile_for("cpu", "cpu").name == "x86_64_cpu"


@pytest.mark.parametrize(
    ("platform", "kind", "name"),
    [
        ("gpu", "NVIDIA A100-SXM4-40GB", "nvidia_a100"),
        ("cuda", "NVIDIA H100 PCIe", "nvidia_h100"),
        ("tpu", "TPU v6 lite (beta)", "tpu_v6e"),
    ],
)
def test_the_nearest_of_the_platform_is_taken_with_a_warning(platform, kind, name):
    with pytest.warns(NtkPlanWarning, match="`ntkplan calibrate`"):
        assert profile_for(platform, kind).name == name


def test_a_platform_without_profiles_is_refused():
    with pytest.raises(UnknownDeviceError, match="quantum"):
        profile_for("quantum", "qubit")
    with pytest.raises(UnknownDeviceError):
        profile_for("gpu", "NVIDIA H200", profiles=(profiles.toy(),))


def test_profiles_lie_beside_the_package_or_inside_it():
    assert (device.shipped_folder() / "x86_64_cpu.toml").is_file()
