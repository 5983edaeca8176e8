"""From estimates to a choice that was measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax

from ntkplan.cost.profile import DeviceProfile
from ntkplan.ir.plan import Tuning
from ntkplan.tuning.rivals import rivals
from ntkplan.tuning.session import Session
from ntkplan.tuning.timed_leaves import Choice, with_timed_leaves
from ntkplan.tuning.whole_plans import ModuleOf, fastest

# Whole kernels decide, and take longer to compile than leaves.
_LEAVES_FRACTION = 0.4


def tune(
    untuned: Choice,
    profile: DeviceProfile,
    *,
    limit_bytes: float,
    budget_s: float,
    module_of: ModuleOf,
    arguments: Callable[[], tuple[Any, ...]],
    shapes: Sequence[object],
) -> tuple[Choice, Tuning]:
    """Chooses by measuring on the device that is present.

    The best candidates of each distinct layer are timed and their prices corrected.
    What is then chosen is timed as a whole against the model's choice and against
    unlike ones, and the fastest is taken.

    Args:
        untuned: The model's choice.
        profile: The device.
        limit_bytes: What every choice has to fit into.
        budget_s: Seconds that all of it may take, compilation included. A compilation
            that has begun is not interrupted.
        module_of: Emits the kernel of a choice.
        arguments: Makes what kernels are called with.
        shapes: Shapes and dtypes of that, as JSON can hold them.

    Returns:
        The choice, and what was measured.

    Raises:
        MemoryLimitError: Nothing fits.
    """
    session = Session(budget_s, profile, limit_bytes=limit_bytes)
    # A caller may be tracing; what is timed here is no part of that.
    with jax.ensure_compile_time_eval():
        corrected = with_timed_leaves(
            session, untuned, session.budget.part(_LEAVES_FRACTION)
        )
        taken, timed = fastest(
            session,
            rivals(untuned, corrected),
            module_of,
            arguments,
            shapes,
            session.budget.part(1.0),
        )
    session.save()
    record = Tuning(
        budget_s=budget_s,
        spent_s=session.budget.spent_s,
        n_timed=session.n_timed,
        n_cached=session.n_cached,
        plans=timed,
    )
    return taken.choice, record
