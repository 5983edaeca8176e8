"""From source text to a module: the kernel that runs is the text that is printed."""

from __future__ import annotations

import hashlib
import linecache
from collections.abc import Callable, Mapping
from typing import Any

from ntkplan.errors import InternalError


def load(
    text: str,
    *,
    constants: Mapping[str, Any],
    references: Mapping[str, Callable[..., Any]],
) -> dict[str, Any]:
    """Runs the text of an emitted module.

    Tracebacks and `inspect.getsource` show its lines, through `linecache`.

    Args:
        text: The module's source.
        constants: Arrays that the text reads from `CONSTANTS`.
        references: Functions that the text calls but cannot define.

    Returns:
        The module's names.

    Raises:
        InternalError: The text is no Python.
    """
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    name = f"<ntkplan {digest}>"
    lines = text.splitlines(keepends=True)
    linecache.cache[name] = (len(text), None, lines, name)
    namespace: dict[str, Any] = {
        "__name__": f"ntkplan_{digest}",
        "__file__": name,
        "CONSTANTS": dict(constants),
        **references,
    }
    try:
        code = compile(text, name, "exec")
    except SyntaxError as error:
        raise InternalError(f"emitted source is no Python: {error}", text) from error
    exec(code, namespace)
    return namespace
