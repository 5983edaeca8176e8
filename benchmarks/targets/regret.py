"""Which order a profile would choose, and what its compiler thinks of that."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, cast

from benchmarks.targets.programs import PRECISION, Contraction
from benchmarks.targets.shapes import Shape
from ntkplan.cost.formulas import seconds
from ntkplan.cost.profile import DeviceProfile


def fitting(
    found: Sequence[Contraction], profile: DeviceProfile
) -> tuple[Contraction, ...]:
    """Returns the orders that the device has memory for, as the planner sees it."""
    memory = profile.memory
    limit_bytes = memory.usable_bytes * (1 - memory.scratch_margin_fraction)
    return tuple(
        item for item in found if cast(float, item.work.peak_bytes) <= limit_bytes
    )


def shape_row(
    shape: Shape,
    found: Sequence[Contraction],
    estimates: Mapping[str, dict[str, Any]],
    profile: DeviceProfile,
) -> dict[str, Any]:
    """Says of one layer which order is chosen, which is best, and the regret.

    Regret is (estimate of the chosen - least estimate) / least estimate, where every
    estimate is the compiler's. Orders that do not fit or that the compiler refuses
    could not run, and are no candidates.

    Args:
        shape: The layer.
        found: All of its orders.
        estimates: The compiler's estimates, by the programs' digests.
        profile: The profile that chooses.
    """
    fit = fitting(found, profile)
    orders = [
        {
            "order": item.order,
            "method": item.method,
            "program": item.digest,
            "predicted_s": seconds(
                item.work, profile, dtype="float32", precision=PRECISION
            ),
            **(estimates[item.digest] if item in fit else _too_large(item)),
        }
        for item in found
    ]
    return {
        "shape": shape.name,
        "parameter": list(shape.parameter),
        "x": list(shape.x.shape),
        "n": shape.n,
        "n_outputs": shape.n_outputs,
        "kernel": shape.kernel,
        **choice(orders),
        "orders": orders,
    }


def _too_large(item: Contraction) -> dict[str, str]:
    return {"error": f"needs {float(cast(float, item.work.peak_bytes)):.3g} bytes"}


def choice(orders: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Compares the order that is predicted to be fastest with the one that is.

    Args:
        orders: Rows with `order`, `predicted_s`, and `estimated_s` where there is one.

    Example:
        >>> choice([
        ...     {"order": "a", "predicted_s": 1.0, "estimated_s": 3.0},
        ...     {"order": "b", "predicted_s": 2.0, "estimated_s": 2.0},
        ... ])
        {'chosen': 'a', 'best': 'b', 'regret_fraction': 0.5}
    """
    runs = [row for row in orders if "estimated_s" in row]
    chosen = min(runs, key=lambda row: row["predicted_s"])
    best = min(runs, key=lambda row: row["estimated_s"])
    return {
        "chosen": chosen["order"],
        "best": best["order"],
        "regret_fraction": chosen["estimated_s"] / best["estimated_s"] - 1,
    }


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Returns mean and worst regret."""
    regrets = [row["regret_fraction"] for row in rows]
    return {
        "mean_regret_fraction": statistics.mean(regrets),
        "worst_regret_fraction": max(regrets),
    }
