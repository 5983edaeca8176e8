"""The text of a plan: its schema, and the values of its fields."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Mapping
from typing import Any

import jax

from ntkplan.cost.profile import DeviceProfile
from ntkplan.errors import UnreadablePlanError
from ntkplan.ir.kernel import KernelSpec
from ntkplan.ir.plan import (
    Approximation,
    LayerPlan,
    LeafFormulas,
    PlanCost,
    Tuning,
)
from ntkplan.plan_json.formulas import size_of, size_text, work_fields, work_of
from ntkplan.plan_json.modules import module_fields, module_of
from ntkplan.plan_json.records import plain, record
from ntkplan.plan_json.trees import tree_fields, tree_of

SCHEMA_VERSION = 5
"""Of the text; it goes up whenever a field changes."""

PLAN, TREE_PLAN = "plan", "tree_plan"
"""What a text may hold."""

_RECORDS: dict[str, Any] = {
    "layers": tuple[LayerPlan, ...],
    "cost": PlanCost,
    "device": DeviceProfile,
    "spec": KernelSpec,
    "n1": int,
    "n2": int | None,
    "headline": str,
    "notes": tuple[str, ...],
    "tuning": Tuning | None,
    "approximation": Approximation | None,
}


def plan_fields(plan: Any) -> dict[str, Any]:
    """Returns a plan as plain values, all but its module.

    Args:
        plan: A `Plan`.

    Raises:
        UnwritablePlanError: Its trees hold nodes of the user's types.
    """
    signature, symbolic = plan.signature, plan.symbolic
    return {
        **{name: plain(getattr(plan, name)) for name in _RECORDS},
        "signature": {
            "params": tree_fields(signature.params, "params"),
            "x": tree_fields(signature.x, "x"),
            "batch_axis": signature.batch_axis,
            "call": signature.call,
        },
        "symbolic": {
            "layers": {path: work_fields(w) for path, w in symbolic.layers.items()},
            **{name: work_fields(getattr(symbolic, name)) for name in _PASSES},
            "peak_bytes": size_text(symbolic.total.peak_bytes),
        },
        "formulas": {
            layer.path: plain(plan.formulas_of(layer.path)) for layer in plan.layers
        },
    }


_PASSES = ("contractions", "forward", "sweep", "push", "cut")


def records_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the records that `plan_fields` wrote, by the fields of a `Plan`."""
    return {name: record(kind, fields[name], name) for name, kind in _RECORDS.items()}


def signature_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields of the signature that `plan_fields` wrote."""
    held = fields["signature"]
    trees = {name: tree_of(held[name]) for name in ("params", "x")}
    return {**trees, "batch_axis": held["batch_axis"], "call": held["call"]}


def symbolic_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields of the formulas that `plan_fields` wrote."""
    held = fields["symbolic"]
    layers = {path: work_of(item) for path, item in held["layers"].items()}
    return {
        "layers": layers,
        **{name: work_of(held[name]) for name in _PASSES},
        "peak_of": functools.partial(size_of, held["peak_bytes"]),
    }


def formulas_of(fields: Mapping[str, Any], path: str) -> LeafFormulas:
    """Returns the formulas of a leaf's candidates that `plan_fields` wrote."""
    return LeafFormulas(**fields["formulas"][path])


def written(kind: str, module: Any, fields: Mapping[str, Any]) -> str:
    """Returns the text of a plan.

    Args:
        kind: What it is of.
        module: The emitted module.
        fields: Everything else.

    Raises:
        UnprintableError: Parts of the kernel have no source.
    """
    versions = {
        "ntkplan": importlib.metadata.version("ntkplan"),
        "jax": jax.__version__,
    }
    held = {
        "schema_version": SCHEMA_VERSION,
        "kind": kind,
        "versions": versions,
        "module": module_fields(module),
        **fields,
    }
    return json.dumps({**held, "sha256": _digest(held)}, indent=1)


def read(text: str, kind: str, build: Callable[[Any, Mapping[str, Any]], Any]) -> Any:
    """Reads the text of a plan.

    Args:
        text: What `written` returned.
        kind: What it has to be of.
        build: Makes a plan of the emitted module and the other fields.

    Raises:
        UnreadablePlanError: It is another text, or of another schema, or was changed.
    """
    fields = _parsed(text)
    version = fields.get("schema_version")
    if version != SCHEMA_VERSION:
        made = fields.get("versions", {})
        raise UnreadablePlanError(
            reason=f"it has schema version {version}, written by ntkplan "
            f"{made.get('ntkplan', '(unknown)')}, and this ntkplan reads "
            f"{SCHEMA_VERSION}",
            hint="Plan again with this version; the kernel itself is kept by "
            "plan.save, whose file needs no ntkplan",
        )
    if fields.get("kind") != kind:
        other = "TreePlan" if kind == PLAN else "Plan"
        raise UnreadablePlanError(
            reason=f"it holds a {fields.get('kind')}",
            hint=f"Read it with ntkplan.{other}.from_json",
        )
    if fields.get("sha256") != _digest(fields):
        raise UnreadablePlanError(
            reason="its hash is not that of what it holds: it was changed",
            hint="Write it again with plan.to_json()",
        )
    try:
        return build(module_of(fields["module"]), fields)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnreadablePlanError(
            reason=f"it does not hold what a plan has ({error})",
            hint="Give what plan.to_json() returned",
        ) from error


def _digest(fields: Mapping[str, Any]) -> str:
    held = {name: value for name, value in fields.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()


def _parsed(text: str) -> dict[str, Any]:
    if not isinstance(text, str | bytes | bytearray):
        raise UnreadablePlanError(
            reason=f"it is no text, but of the type {type(text).__name__}",
            hint="Give what plan.to_json() returned, or what a file of it holds",
        )
    try:
        fields = json.loads(text)
    except ValueError as error:
        raise UnreadablePlanError(
            reason=f"it is no JSON ({error})", hint="Give what plan.to_json() returned"
        ) from error
    if not isinstance(fields, dict) or "schema_version" not in fields:
        raise UnreadablePlanError(
            reason="it is JSON of something else",
            hint="Give what plan.to_json() returned",
        )
    return fields
