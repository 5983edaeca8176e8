"""How a plan was asked for, as Python text: it stands in what the plan emits."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from ntkplan.cost.profile import DeviceProfile

_UNSAID = "..."


def call_text(
    f: Callable[..., Any],
    x2: Any,
    options: Mapping[str, Any],
    defaults: Mapping[str, Any],
) -> str:
    """Writes a call of `ntkplan.plan`, with the options that are not the default.

    Args:
        f: The model.
        x2: Other examples, or None.
        options: Every option by its name.
        defaults: Their defaults.

    Returns:
        The text. What has no short text, as a lambda, is `...`.

    Example:
        >>> call_text(abs, None, {"kernel": "trace", "wrt": None}, {"wrt": None})
        'ntkplan.plan(abs, params, x1, kernel="trace")'
    """
    name = getattr(f, "__name__", "f")
    arguments = [name if name.isidentifier() else "f", "params", "x1"]
    if x2 is not None:
        arguments.append("x2")
    for option, value in options.items():
        default = defaults.get(option)
        if value is not default and (type(value), value) != (type(default), default):
            arguments.append(f"{option}={_value(value)}")
    return f"ntkplan.plan({', '.join(arguments)})"


def _value(value: Any) -> str:
    if isinstance(value, DeviceProfile):
        return _value(value.name)
    if isinstance(value, jax.lax.Precision):
        return _value(value.name.lower())
    if isinstance(value, os.PathLike):
        return _value(os.fspath(value))
    if isinstance(value, str):
        text = repr(str(value))
        return text if '"' in text else f'"{text[1:-1]}"'
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, Mapping):
        items = (f"{_value(key)}: {_value(item)}" for key, item in value.items())
        return f"{{{', '.join(items)}}}"
    if isinstance(value, Sequence):
        return f"[{', '.join(map(_value, value))}]"
    name = getattr(value, "__name__", "")
    return name if name.isidentifier() else _UNSAID
