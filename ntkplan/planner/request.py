"""Which methods a user allows, and for which leaves."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Iterable, Mapping, Sequence

from ntkplan.errors import UnknownOptionError
from ntkplan.methods.candidate import Method


@dataclasses.dataclass(frozen=True, kw_only=True)
class MethodRequest:
    """What `methods=` says.

    Attributes:
        allowed: Methods allowed for every leaf that no pattern names.
        forced: Patterns of paths, each with the method that it forces.
    """

    allowed: tuple[Method, ...]
    forced: tuple[tuple[str, Method], ...]

    def of(self, path: str) -> tuple[tuple[Method, ...], bool]:
        """Returns the methods allowed for a leaf, and whether they are forced."""
        for pattern, method in self.forced:
            if fnmatch.fnmatchcase(path, pattern):
                return (method,), True
        return self.allowed, False

    def leaves_choice(self, paths: Iterable[str]) -> bool:
        """Says whether some leaf may be computed in more than one way."""
        return any(len(self.of(path)[0]) > 1 for path in paths)


def parse_methods(
    methods: str | Sequence[str] | Mapping[str, str] | None, paths: Sequence[str]
) -> MethodRequest:
    """Reads `methods=`: None, a name, several names, or patterns with names.

    Raises:
        UnknownOptionError: A name is no method, or a pattern fits no leaf.
    """
    every = tuple(Method)
    if methods is None:
        return MethodRequest(allowed=every, forced=())
    if isinstance(methods, Mapping):
        for pattern in methods:
            if not any(fnmatch.fnmatchcase(path, pattern) for path in paths):
                raise UnknownOptionError(
                    option="pattern in methods=", value=pattern, known=tuple(paths)
                )
        forced = tuple((pattern, _method(name)) for pattern, name in methods.items())
        return MethodRequest(allowed=every, forced=forced)
    names = [methods] if isinstance(methods, str) else list(methods)
    if not names:
        raise UnknownOptionError(option="methods", value=[], known=tuple(every))
    return MethodRequest(allowed=tuple(_method(name) for name in names), forced=())


def _method(name: str) -> Method:
    try:
        return Method(name)
    except ValueError:
        raise UnknownOptionError(
            option="method", value=name, known=tuple(Method)
        ) from None
