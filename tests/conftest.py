"""What holds for every test: programs are compiled quickly, not well.

Most of a test's time is the compiler's. What is asserted of compiled programs, their
memory or their speed, is marked `optimised`.
"""

from __future__ import annotations

import os
from importlib import metadata

# Before JAX starts. The oracles are compiled by JAX alone, whose CPU compiler gets sums
# wrong in some versions (ntkplan.compiling); older ones do not know the flag.
if tuple(map(int, metadata.version("jaxlib").split(".")[:2])) >= (0, 10):
    flag = "--xla_cpu_experimental_ynn_fusion_type"
    os.environ.setdefault("XLA_FLAGS", f"{flag}=LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT")

import jax
import pytest

_SWITCH = "jax_disable_most_optimizations"


def pytest_addoption(parser):
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write the files in tests/golden/kernels anew",
    )


@pytest.fixture(autouse=True)
def compile_quickly(request):
    """Switches most of the compiler's optimisations off."""
    before = jax.config.read(_SWITCH)
    jax.config.update(_SWITCH, request.node.get_closest_marker("optimised") is None)
    yield
    jax.config.update(_SWITCH, before)
