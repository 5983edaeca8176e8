"""What holds for every test: programs are compiled quickly, not well.

Most of a test's time is the compiler's. What is asserted of compiled programs, their
memory or their speed, is marked `optimised`.
"""

from __future__ import annotations

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
