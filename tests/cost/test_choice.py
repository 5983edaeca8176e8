import dataclasses

import pytest

from ntkplan.cost.choice import choose
from ntkplan.cost.device import choice_for, load_profile
from ntkplan.cost.host import Host, described

HERE = Host(architecture="x86_64", processor="This CPU", cores=8)


def cpu(name, **fields):
    fields = {
        "architecture": "x86_64",
        "processor": "This CPU",
        "cores": 8,
        **fields,
    }
    return dataclasses.replace(load_profile("x86_64_cpu"), name=name, **fields)


def chosen(*profiles, calibrated=(), host=HERE):
    return choose("cpu", "cpu", host, profiles, calibrated)


def test_the_same_processor_with_as_many_cores_is_the_same_device():
    found = chosen(cpu("other", processor="Other"), cpu("fewer", cores=2), cpu("it"))
    assert (found.profile.name, found.same, found.alike) == ("it", True, True)
    assert found.why == "shipped, same processor"


def test_another_processor_of_the_architecture_is_the_nearest_without_a_warning():
    found = chosen(cpu("other", processor="Other", cores=2))
    assert not found.same
    assert found.alike
    assert found.why == (
        "nearest of its platform: rates of Other, 2 cores; this is This CPU, 8 cores"
    )
    assert not chosen(cpu("fewer", cores=2)).same


def test_processors_of_one_name_are_told_apart_by_their_vectors():
    wide, narrow = (
        described("This CPU", flags)
        for flags in ("fpu avx avx2 avx512f avx512bw", "fpu avx avx2")
    )
    found = chosen(
        cpu("it", processor=wide), host=dataclasses.replace(HERE, processor=narrow)
    )
    assert not found.same
    assert found.why == (
        "nearest of its platform: rates of This CPU, AVX-512, 8 cores; "
        "this is This CPU, AVX2, 8 cores"
    )
    assert described("Apple M4", "") == "Apple M4"


def test_another_architecture_is_the_nearest_with_a_warning():
    apple = Host(architecture="arm64", processor="Apple M4", cores=10)
    found = chosen(cpu("it"), host=apple)
    assert not found.same
    assert not found.alike
    assert "this is Apple M4, 10 cores (arm64)" in found.why


def test_the_users_own_calibration_goes_before_what_is_shipped():
    found = chosen(cpu("shipped"), cpu("own", cores=4), calibrated={"own"})
    assert found.profile.name == "own"
    date = found.profile.provenance.date
    assert found.why == f"calibrated on {date}, on 4 cores; this process has 8"
    elsewhere = cpu("own", processor="That of another machine")
    assert chosen(cpu("shipped"), elsewhere, calibrated={"own"}).profile.name == (
        "shipped"
    )


def test_accelerators_are_told_by_their_kind():
    assert choice_for("tpu", "TPU v5 lite").why == "shipped, same kind of device"
    found = choice_for("gpu", "NVIDIA H100 PCIe")
    assert not found.same
    assert not found.alike
    assert "NVIDIA H100 PCIe" in found.why


def test_a_platform_that_no_profile_has_gets_none():
    assert choose("quantum", "qubit", HERE, (cpu("it"),), ()) is None


@pytest.mark.parametrize("cores", [1, 16])
def test_a_host_is_told_by_its_processor_and_cores(cores):
    host = dataclasses.replace(HERE, cores=cores)
    assert str(host) == f"This CPU, {cores} cores"
