"""Timings on disk: kept, found again, and never in the way."""

from __future__ import annotations

import json

import pytest

from ntkplan.errors import NtkPlanWarning
from ntkplan.tuning.cache import Timing, TimingCache, digest, timings_file

TIMING = Timing(seconds=0.25, budget_s=10.0, what="w [3, 2]: C1 C2")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "timings.json"


def saved(path) -> TimingCache:
    cache = TimingCache("cpu", path)
    cache.put("key", TIMING)
    cache.save()
    return cache


def test_what_was_saved_is_found(path):
    saved(path)
    assert TimingCache("cpu", path).get("key") == TIMING
    assert TimingCache("cpu", path).get("other") is None
    assert list(path.parent.iterdir()) == [path]


def test_timings_of_two_processes_are_joined(path):
    first, second = TimingCache("cpu", path), TimingCache("cpu", path)
    first.put("one", TIMING)
    second.put("two", TIMING)
    first.save()
    second.save()
    assert TimingCache("cpu", path).get("one") == TIMING
    assert TimingCache("cpu", path).get("two") == TIMING


def broken(path, change) -> str:
    saved(path)
    fields = json.loads(path.read_text())
    change(fields)
    return json.dumps(fields)


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: fields.update(schema_version=99),
        lambda fields: fields.update(jaxlib="0.0.1"),
        lambda fields: fields.update(device_kind="abacus"),
        lambda fields: fields.update(timings=[1, 2]),
        lambda fields: fields["timings"].update(key=3),
        lambda fields: fields["timings"]["key"].update(seconds="fast"),
        lambda fields: fields["timings"]["key"].update(seconds=-1.0),
        lambda fields: fields["timings"]["key"].update(seconds=True),
        lambda fields: fields["timings"]["key"].update(budget_s=None),
        lambda fields: fields["timings"]["key"].update(what=[]),
        lambda fields: fields["timings"]["key"].pop("what"),
        lambda fields: fields.clear(),
    ],
)
def test_a_foreign_file_is_ignored_with_a_warning_and_made_anew(path, change):
    path.parent.mkdir()
    path.write_text(broken(path, change))
    with pytest.warns(NtkPlanWarning, match="is ignored and made anew"):
        cache = TimingCache("cpu", path)
    assert cache.get("key") is None
    cache.put("key", TIMING)
    cache.save()
    assert TimingCache("cpu", path).get("key") == TIMING


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe\x00", b"nonsense"])
def test_a_corrupt_file_is_ignored_with_a_warning_and_made_anew(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.warns(NtkPlanWarning, match="is ignored and made anew"):
        TimingCache("cpu", path)
    with pytest.warns(NtkPlanWarning):
        saved(path)
    assert TimingCache("cpu", path).get("key") == TIMING


def test_a_folder_that_cannot_be_written_to_is_a_warning(tmp_path):
    # A file in the place of the folder stops even a user who may write anywhere.
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "timings.json"
    with pytest.warns(NtkPlanWarning, match="cannot be"):
        saved(path)


def test_a_failed_write_leaves_the_old_file(path, monkeypatch):
    saved(path)
    before = path.read_text()

    def fail(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr("pathlib.Path.replace", fail)
    cache = TimingCache("cpu", path)
    cache.put("other", TIMING)
    with pytest.warns(NtkPlanWarning, match="no space left"):
        cache.save()
    assert path.read_text() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_larger_budget_is_worth_another_try():
    too_slow = Timing(seconds=None, budget_s=5.0, what="")
    assert too_slow.answers(5.0)
    assert not too_slow.answers(6.0)
    assert TIMING.answers(1e9)


def test_every_kind_of_device_has_a_file_of_its_own():
    names = {timings_file(kind).name for kind in ("cpu", "NVIDIA H200", "TPU v5/lite")}
    assert len(names) == 3
    assert all("/" not in name and " " not in name for name in names)


def test_digests_tell_parts_apart():
    assert digest("a", [1, 2]) == digest("a", [1, 2])
    assert len({digest("a", [1, 2]), digest("a", [12]), digest("a1", [2])}) == 3
