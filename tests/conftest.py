"""What holds for every test: programs are compiled quickly, not well.

Most of a test's time is the compiler's. What is asserted of compiled programs, their
memory or their speed, is marked `optimised`.
"""

from __future__ import annotations

import collections
import os
from importlib import metadata

# Before JAX starts. The oracles are compiled by JAX alone, whose CPU compiler gets sums
# wrong in some versions (ntkplan.compiling); older ones do not know the flag.
if tuple(map(int, metadata.version("jaxlib").split(".")[:2])) >= (0, 10):
    flag = "--xla_cpu_experimental_ynn_fusion_type"
    os.environ.setdefault("XLA_FLAGS", f"{flag}=LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT")

import pytest

from tests.quick_compiler import compiled_quickly


def pytest_addoption(parser):
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write the files in tests/golden/kernels anew",
    )
    parser.addoption(
        "--device-results",
        metavar="FILE",
        help="with -m device: write there how far the kernels of a device are off",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Marks as slow what thinned tests leave out, before markers select."""
    quick = collections.Counter()
    for item in items:
        marker = item.get_closest_marker("thinned")
        if marker is None or item.get_closest_marker("slow"):
            continue
        test = item.nodeid.partition("[")[0]
        if quick[test] % marker.args[0]:
            item.add_marker(pytest.mark.slow)
        quick[test] += 1


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Compiles quickly in a test and in the fixtures that are made for it."""
    if item.get_closest_marker("optimised"):
        return (yield)
    with compiled_quickly():
        return (yield)
