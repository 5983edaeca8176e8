"""What the user's own functions are called, in which equations were made."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ntkplan._jax import SourceLocation, Var
from ntkplan.ir.equation import Body

Stack = tuple[SourceLocation, ...]

# Functions of libraries stand around the user's or in them, and tell less of the model.
_LIBRARIES = ("equinox", "flax", "haiku", "jaxtyping", "numpy", "optax", "scipy")
_LIBRARY = re.compile(rf"[/\\](?:{'|'.join(_LIBRARIES)})[/\\]")


class UserCalls:
    """The user's calls around the equations of a body.

    A call is known by the lines that lead to it, so that calls of one function from the
    same line, as in a loop, are taken for the same.
    """

    def __init__(self, body: Body) -> None:
        """Reads which call every variable is computed in.

        Args:
            body: The equations.
        """
        self._stacks: dict[Var, Stack] = {}
        self._readers: dict[Var, list[Stack]] = {}
        for equation in body.equations:
            for variable in equation.outputs:
                self._stacks[variable] = equation.stack
            for variable in equation.reads:
                self._readers.setdefault(variable, []).append(equation.stack)
        for item in body.outputs:
            if isinstance(item, Var):
                self._readers.setdefault(item, []).append(())

    def around(self, variables: Iterable[Var]) -> Stack:
        """Returns the calls that lead to the function which computes all variables.

        Args:
            variables: The variables; those of which nothing is known do not count.

        Returns:
            The calls, that function last; none where they have none in common.
        """
        stacks = [stack for v in variables if (stack := self._stacks.get(v))]
        if not stacks:
            return ()
        common: list[SourceLocation] = []
        for frames in zip(*stacks, strict=False):
            if not all(frame.same_function(frames[0]) for frame in frames):
                break
            common.append(frames[0])
            if len({frame.line for frame in frames}) > 1:
                break
        return tuple(common)

    def returned_by(self, inside: Stack) -> dict[Var, str]:
        """Returns the functions that return variables to the outside, by variable.

        Args:
            inside: Calls around those that are meant; of calls in each other the
                outermost counts.
        """
        found: dict[Var, str] = {}
        for variable, stack in self._stacks.items():
            if not _leads(inside, stack):
                continue
            for depth in range(max(len(inside), 1), len(stack)):
                name = called(stack[depth])
                readers = self._readers.get(variable, [])
                known = all(readers)
                if name and known and any(_left(stack, depth, at) for at in readers):
                    found[variable] = name
                    break
        return found


def called(call: SourceLocation) -> str | None:
    """Returns what a function is called, as far as that says something.

    Example:
        >>> called(SourceLocation(file="m.py", line=1, function="f.<locals>._block"))
        'block'
        >>> called(SourceLocation(file="m.py", line=1, function="<lambda>"))
    """
    words = [word for word in call.function.split(".") if word.isidentifier()]
    name = words[-1] if words else ""
    last = call.function.rpartition(".")[2]
    if last != name or name.startswith("__") or _LIBRARY.search(call.file):
        return None
    return name.strip("_").lower() or None


def _leads(inside: Sequence[SourceLocation], stack: Stack) -> bool:
    """Says whether a stack begins with some calls, whatever line the last is at."""
    if not inside:
        return True
    *outer, last = inside
    if len(stack) < len(inside) or list(stack[: len(outer)]) != outer:
        return False
    return stack[len(outer)].same_function(last)


def _left(stack: Stack, depth: int, reader: Stack) -> bool:
    """Says whether a reader stands outside of a call that a stack is in."""
    return not _leads((*stack[: depth + 1],), reader)
