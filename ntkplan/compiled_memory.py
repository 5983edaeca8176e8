"""What a compiler says that a kernel needs in memory."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ntkplan.cost.choice import PLATFORM_NAMES
from ntkplan.cost.profile import DeviceProfile
from ntkplan.errors import ConflictingOptionsError, MemoryExceededError
from ntkplan.ir.plan import PlanCost
from ntkplan.signature import Signature


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompiledMemory:
    """What a compiler says that a kernel needs, beside what was planned.

    Attributes:
        estimated_bytes: The plan's estimate.
        compiled_bytes: Arguments, results and temporaries, less what they have in
            common.
        temporary_bytes: The temporaries among them.
    """

    estimated_bytes: int
    compiled_bytes: int
    temporary_bytes: int


def require_platform(profile: DeviceProfile) -> None:
    """Refuses to compare a plan with what the compiler of another platform says.

    Args:
        profile: The device that the plan is for.

    Raises:
        ConflictingOptionsError: JAX compiles for another platform.
    """
    (running,) = jnp.zeros(()).devices()
    if PLATFORM_NAMES.get(running.platform) == profile.platform:
        return
    raise ConflictingOptionsError(
        what=f"check_memory= compiles for the device that is present, "
        f"{running.platform} ({running.device_kind}), and the plan is for "
        f"{profile.name} ({profile.device_kind}) and its memory",
        hint="Leave check_memory= out, compile on such a device, or plan with "
        f"device={running.platform!r} to check the kernel here",
    )


def compiled_memory(
    lower: Callable[..., Any],
    signature: Signature,
    *,
    n1: int,
    n2: int | None,
    cost: PlanCost,
) -> CompiledMemory:
    """Compiles a kernel for the planned shapes, and asks what memory it needs.

    Args:
        lower: Lowers the kernel for `params`, `x1` and `x2`.
        signature: Their shapes.
        n1: Examples in `x1`.
        n2: Examples in `x2`, or None where it is absent.
        cost: What the plan estimates, and the memory limit.

    Raises:
        MemoryExceededError: The compiled kernel needs more than the limit.
    """
    axis = signature.batch_axis

    def examples(count: int) -> Any:
        def resized(spec: Any) -> Any:
            shape = list(spec.shape)
            if axis is not None:
                shape[axis] = count
            return jax.ShapeDtypeStruct(tuple(shape), spec.dtype)

        return jax.tree.map(resized, signature.x)

    others = None if n2 is None else examples(n2)
    lowered = lower(signature.params, examples(n1), others)
    found = lowered.compile().memory_analysis()
    temporary = found.temp_size_in_bytes
    needed = temporary + found.argument_size_in_bytes
    needed += found.output_size_in_bytes - found.alias_size_in_bytes
    if needed > cost.memory_limit_bytes:
        raise MemoryExceededError(
            compiled_bytes=needed,
            estimated_bytes=cost.peak_bytes,
            limit_bytes=cost.memory_limit_bytes,
        )
    return CompiledMemory(
        estimated_bytes=math.ceil(cost.peak_bytes),
        compiled_bytes=needed,
        temporary_bytes=temporary,
    )
