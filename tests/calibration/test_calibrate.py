import dataclasses
import functools
import re

import jax
import pytest

import ntkplan
from ntkplan import cli
from ntkplan.calibration import calibrate as module
from ntkplan.calibration import machine
from ntkplan.calibration.budget import Budget
from ntkplan.calibration.case import Extent
from ntkplan.calibration.memory_cases import elementwise
from ntkplan.calibration.product_cases import dots
from ntkplan.cost.choice import Choice
from ntkplan.cost.device import load_profile, user_folder
from ntkplan.cost.formulas import operation_seconds
from ntkplan.cost.host import Host, this_host
from ntkplan.cost.profile import Origin, Platform
from ntkplan.cost.work import Operation, OperationKind
from ntkplan.errors import CalibrationError, NtkPlanWarning

TINY = Extent(least_flops=1e3, least_bytes=1e3, most_flops=1e6, most_bytes=1e5)


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def tiny(monkeypatch):
    """Measures few small programs in few rounds, however busy the machine is."""
    cases = [*dots(4, TINY, 44), *elementwise(4, TINY, 12)]
    plain = [case for case in cases if case.operation.variant == "plain"]
    asked = []

    def suite(platform, *, quick):
        asked.append(quick)
        return plain

    monkeypatch.setattr(module, "suite", suite)
    monkeypatch.setattr(module, "_MOST_ROUNDS", 4)
    monkeypatch.setattr(module, "noise", lambda programs: (0.01, 0.02))
    timeless = functools.partial(Budget, clock=lambda: 0.0)
    monkeypatch.setattr(module, "Budget", timeless)
    return asked


def test_a_calibration_measures_this_device(tiny, tmp_path):
    profile = ntkplan.calibrate(name="mine")
    assert tiny == [False]
    assert profile.platform is Platform.CPU
    assert (profile.name, profile.cores) == ("mine", this_host().cores)
    source = profile.provenance
    assert source.origin is Origin.MEASURED
    assert source.jax_version == jax.__version__
    assert (source.noise_median_fraction, source.noise_p90_fraction) == (0.01, 0.02)
    kinds = {rate.kind for rate in profile.rates}
    assert kinds == {OperationKind.DOT, OperationKind.ELEMENTWISE}
    assert all(rate.fit is not None and rate.fit.samples for rate in profile.rates)
    path = tmp_path / "folder" / "mine.toml"
    profile.save(path)
    assert load_profile(path) == profile
    dot = Operation(kind=OperationKind.DOT, m=9, n=9, k=9, flops=1458)
    assert operation_seconds(dot, profile, dtype="float32", precision=None) > 0
    assert not user_folder().exists()


def test_noise_is_warned_of(tiny, monkeypatch):
    monkeypatch.setattr(module, "noise", lambda programs: (0.2, 0.36))
    with pytest.warns(NtkPlanWarning, match="noise p90 36%.*something else"):
        profile = ntkplan.calibrate(budget_s=15)
    assert tiny == [True]
    assert profile.provenance.noise_p90_fraction == 0.36


def test_too_little_time_is_said(tiny, monkeypatch):
    monkeypatch.setattr(module, "Budget", Budget)
    with pytest.raises(CalibrationError, match=r"into 0 s.*\n.*in place of --quick"):
        ntkplan.calibrate(budget_s=1e-3)


def test_what_jax_does_not_run_on_is_refused():
    with pytest.raises(CalibrationError, match="cannot calibrate abacus"):
        ntkplan.calibrate("abacus")


def test_the_command_writes_to_the_cache_and_is_used_from_then_on(tiny, capsys):
    assert cli.main(["calibrate", "--quick"]) == 0
    captured = capsys.readouterr()
    assert tiny == [True]
    assert "dot float32" in captured.out
    assert "elementwise float32" in captured.out
    (path,) = user_folder().iterdir()
    assert str(path) in captured.err
    assert load_profile("cpu").name == path.stem
    assert cli.main(["devices"]) == 0
    printed = capsys.readouterr().out
    date = load_profile("cpu").provenance.date
    used = rf"Plans for this machine use {path.stem}: calibrated on {date}"
    assert re.search(used, printed)
    assert re.search(rf"(?m)^ *{path.stem} .*measured.* 2%", printed)


def test_the_command_writes_where_it_is_told(tiny, tmp_path, capsys):
    path = tmp_path / "mine.toml"
    command = ["calibrate", "--budget", "30", "--name", "mine", "-o", str(path)]
    assert cli.main(command) == 0
    assert load_profile(path).name == "mine"
    assert not user_folder().exists()


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_measured(
    tiny, tmp_path, capsys
):
    (tmp_path / "file").write_text("")
    for name, said in (
        ("mine", "ends in .toml"),
        ("file/mine.toml", "is no folder"),
    ):
        command = ["calibrate", "--quick", "-o", str(tmp_path / name)]
        assert cli.main(command) == 2
        assert said in capsys.readouterr().err
    assert tiny == []


def test_too_much_noise_writes_nothing_and_keeps_the_rates(tiny, monkeypatch, capsys):
    before = load_profile("cpu")
    monkeypatch.setattr(module, "noise", lambda programs: (0.2, 0.36))
    assert cli.main(["calibrate", "--quick"]) == cli.TOO_NOISY == 3
    captured = capsys.readouterr()
    assert "noise p90 36%" in captured.err
    assert "Nothing was written" in captured.err
    assert not user_folder().exists()
    assert load_profile("cpu") == before


def test_too_little_time_writes_nothing_and_keeps_the_rates(tiny, monkeypatch, capsys):
    before = load_profile("cpu")
    monkeypatch.setattr(module, "fit_all", lambda *_: ())
    assert cli.main(["calibrate", "--budget", "15"]) == 3
    told = " ".join(capsys.readouterr().err.split())
    assert re.search(r"too few programs of dot fitted into \d+ s, .* 15 s given", told)
    assert "Nothing was written; the rates stay as they were" in told
    assert not user_folder().exists()
    assert load_profile("cpu") == before


def test_the_command_refuses_a_device_that_is_not_there(capsys):
    assert cli.main(["calibrate", "--device", "abacus"]) == 2
    assert "cannot calibrate abacus" in capsys.readouterr().err


@dataclasses.dataclass
class FakeDevice:
    """A device of JAX as `calibrate` looks at it."""

    platform: str = "gpu"
    device_kind: str = "NVIDIA H200"
    statistics: dict | None = None
    core_count: int | None = None

    def memory_stats(self):
        return self.statistics


def choice(name: str, same: bool) -> Choice:
    return Choice(profile=load_profile(name), same=same, alike=same, why="")


HOST = Host(architecture="x86_64", processor="Some CPU @ 2 GHz", cores=8)


def test_a_profile_takes_the_place_of_that_of_the_same_device():
    gpu = FakeDevice()
    same = choice("nvidia_h200", True)
    assert machine.profile_name(gpu, HOST, same) == "nvidia_h200"
    other = choice("nvidia_h200", False)
    newer = FakeDevice(device_kind="NVIDIA B200 (SXM)")
    assert machine.profile_name(newer, HOST, other) == "nvidia_b200_sxm"
    cpu = FakeDevice(platform="cpu", device_kind="cpu")
    assert machine.profile_name(cpu, HOST, None) == "x86_64_some_cpu_2_ghz_8_cores"


def test_an_accelerator_tells_its_memory_or_has_that_of_its_profile():
    known = load_profile("nvidia_h200")
    gpu = FakeDevice(statistics={"bytes_limit": 10**11})
    memory = machine.memory_of(gpu, known)
    assert memory.usable_bytes == 10**11
    assert memory.capacity_bytes == known.memory.capacity_bytes
    assert memory.fresh_buffer_bytes == 0
    assert machine.memory_of(gpu, None).capacity_bytes == 10**11
    assert machine.memory_of(FakeDevice(), known) == known.memory
    with pytest.raises(CalibrationError, match="how much memory"):
        machine.memory_of(FakeDevice(), None)


def test_an_accelerator_tells_its_cores_or_has_those_of_its_profile():
    same = choice("nvidia_h200", True)
    assert machine.core_count(FakeDevice(core_count=7), HOST, same) == 7
    assert machine.core_count(FakeDevice(), HOST, same) == same.profile.cores
    assert machine.core_count(FakeDevice(), HOST, None) == 1


def test_the_process_is_older_than_this_test():
    age_s = machine.process_age_s()
    assert 0 < age_s < machine.process_age_s() + 1
