"""How kernels are compiled in this process: soon, and without what comes out wrong.

The CPU backend of JAX 0.10 fuses a sum over the last axis with what its result is
broadcast into. Where that is over a mebibyte and another operand is broadcast along an
axis before the last, all but the first mebibyte is wrong. The derivatives of a layer
normalisation are such sums, by plain `jax.grad` too. What is right are matrix products
by themselves; fused with others, those of two constants return whatever was in memory.
"""

from __future__ import annotations

import contextlib
import functools
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ntkplan._jax import is_traced
from ntkplan.cost.host import this_host
from ntkplan.cost.profile import DeviceProfile, Platform
from ntkplan.errors import MiscompiledSumsWarning
from ntkplan.ir.plan import PlanCost
from ntkplan.planner.explain import device_line

SOUND = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"}
"""The option of a compiler that gets sums wrong with which it does not."""

FLAGS = " ".join(f"--{name}={value}" for name, value in SOUND.items())
"""What `XLA_FLAGS` has to hold where a compiler gets sums wrong."""

FAULT = (
    "JAX 0.10's CPU compiler gets some sums of derivatives wrong, unless XLA_FLAGS "
    f"holds {FLAGS}"
)
"""What is said of it in files that are to run on CPUs, where nothing tries it."""

_SHAPE = (8, 10, 64, 64)

# Compilation takes seconds: what it may save is waited for more often than that where a
# call takes this long.
_WORTH_OPTIMISING_S = 0.1

# With so many leaves MLIR, which takes a while to begin with, is the sooner way.
_MANY_LEAVES = 24

# The GNU C library gives a block of more than 32 MiB back to the system when it is
# freed (`M_MMAP_THRESHOLD` in mallopt(3)), so that every call of a kernel waits for new
# pages. Smaller blocks it keeps, and about two of them side by side
# (`M_TRIM_THRESHOLD`); of more, calls wait for some.
_KEPT_BLOCK_BYTES = 31 * 2**20

# Arrays beyond a block's size share no memory with others. So there has to be none,
# though what a compiler makes may be larger than what was planned.
_UNFORESEEN = 1.5


@functools.cache
def sums_are_wrong() -> bool:
    """Says whether this compiler gets sums wrong that are broadcast back.

    It is tried, once in a process, for a few hundredths of a second: versions do not
    say, and flags change it.
    """
    if jax.default_backend() != "cpu":
        return False
    generator = np.random.default_rng(0)
    values = generator.normal(size=_SHAPE).astype(np.float32)
    others = generator.normal(size=(_SHAPE[0], *_SHAPE[2:])).astype(np.float32)

    def scaled(values: jax.Array, others: jax.Array) -> jax.Array:
        spread = lax.broadcast_in_dim(others, _SHAPE, (0, 2, 3))
        return jnp.sum(spread * values, -1, keepdims=True) * values

    with jax.ensure_compile_time_eval():
        found = np.asarray(jax.jit(scaled)(values, others))
    expected = np.sum(others[:, None] * values, -1, keepdims=True) * values
    return not np.allclose(found, expected, rtol=1e-3, atol=1e-2)


_WITHOUT_MLIR = ("xla_cpu_use_fusion_emitters", False)

_SPARING_SCHEDULES = (
    ("xla_cpu_scheduler_type", "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"),
    # What it was called before.
    ("xla_cpu_enable_concurrency_optimized_scheduler", False),
)


def sparing_schedule() -> dict[str, Any]:
    """Returns options with which this compiler holds as little at once as it can.

    The CPU backend runs first whatever is ready, so that arrays of several leaves are
    alive together. Others have no such options, and need none.
    """
    return _first_known(_SPARING_SCHEDULES)


def kept_blocks() -> dict[str, Any]:
    """Returns options with which kernels have their memory in blocks that are kept.

    The CPU backend has all temporaries in one block otherwise, which it asks for and
    frees at every call.
    """
    return _first_known(
        (("xla_multiheap_size_constraint_per_heap", _KEPT_BLOCK_BYTES),)
    )


def quick_compilation(*, many_leaves: bool = False) -> dict[str, Any]:
    """Returns options with which this compiler is done sooner.

    By default the CPU backend goes by way of MLIR, optimises most, and divides every
    kernel among 32 modules. Small kernels run no faster for that; large ones do, where
    most of their time is not in products and convolutions, which libraries compute.

    Args:
        many_leaves: Whether there is so much to compile that MLIR, which takes a while
            to begin with, is the sooner way.
    """
    direct = {} if many_leaves else _first_known((_WITHOUT_MLIR,))
    return {
        **direct,
        **_first_known((("xla_backend_optimization_level", 1),)),
        **_first_known((("xla_cpu_parallel_codegen_split_count", this_host().cores),)),
    }


@functools.cache
def _first_known(choices: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    """Returns the first of some options that this CPU compiler has, or none."""
    if jax.default_backend() != "cpu":
        return {}
    for name, value in choices:
        options = {name: value}
        with contextlib.suppress(jax.errors.JaxRuntimeError):
            jax.jit(jnp.negative, compiler_options=options).lower(0.0).compile()
            return options
    return {}


def compiler_options(
    *,
    sparing: bool = False,
    optimised: bool = False,
    many_leaves: bool = False,
    in_blocks: bool = False,
) -> dict[str, Any]:
    """Returns the options with which kernels are compiled here.

    Args:
        sparing: Whether to hold as little at once as can be, though it may be slower.
        optimised: Whether to take the compiler's time, though it is long.
        many_leaves: Whether there is much to compile, see `quick_compilation`.
        in_blocks: Whether temporaries fit into several blocks, see `kept_blocks`.
    """
    options = {} if optimised else quick_compilation(many_leaves=many_leaves)
    if sums_are_wrong():
        options |= SOUND
    if sparing:
        options |= sparing_schedule()
    if in_blocks:
        options |= kept_blocks()
    return options


def options_of(cost: PlanCost) -> dict[str, Any]:
    """Returns the options with which a plan's kernel is compiled here.

    Args:
        cost: What the kernel is estimated to cost.
    """
    return compiler_options(
        sparing=cost.in_turn,
        optimised=cost.seconds >= _WORTH_OPTIMISING_S,
        many_leaves=cost.n_leaves >= _MANY_LEAVES,
        in_blocks=_fits_blocks(cost),
    )


def _fits_blocks(cost: PlanCost) -> bool:
    """Says whether a kernel needs more than one block, and no array needs all of it."""
    if cost.largest_bytes is None or cost.peak_bytes * _UNFORESEEN < _KEPT_BLOCK_BYTES:
        return False
    return cost.largest_bytes * _UNFORESEEN <= _KEPT_BLOCK_BYTES


def jitted(function: Any, cost: PlanCost | None = None) -> Any:
    """Returns a function that is compiled as kernels are, where nothing traces it.

    Args:
        function: A function, jitted or not.
        cost: What it is estimated to cost, if it is a whole kernel.
    """
    options = compiler_options() if cost is None else options_of(cost)
    if not options and hasattr(function, "lower"):
        return function
    return jax.jit(function, compiler_options=options or None)


def called(function: Any, compiled: Any, *arguments: Any) -> Any:
    """Calls what `jitted` returned or, where JAX traces, the function itself.

    Args:
        function: The function.
        compiled: What `jitted` returned for it.
        arguments: What it is given.
    """
    if any(is_traced(leaf) for leaf in jax.tree.leaves(arguments)):
        warn_of_sums("inside of another jax.jit")
        return function(*arguments)
    return compiled(*arguments)


def device_notes(profile: DeviceProfile) -> tuple[str, ...]:
    """Returns what a kernel's file says of its device and of that one's compilers."""
    faults = (FAULT,) if profile.platform is Platform.CPU else ()
    return (device_line(profile), *faults)


def warn_of_sums(where: str) -> None:
    """Warns that a kernel will be compiled with that fault, if there is one.

    Args:
        where: Where that will be, as a clause.
    """
    if sums_are_wrong():
        warnings.warn(
            MiscompiledSumsWarning(version=jax.__version__, flags=FLAGS, where=where),
            stacklevel=4,
        )
