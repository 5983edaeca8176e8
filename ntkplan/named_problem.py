"""The model, parameters and examples that a command line names."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import pathlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from ntkplan.errors import (
    NtkPlanError,
    ProblemReferenceError,
    place_of,
    short_text,
)


def load_problem(reference: str) -> tuple[Any, ...]:
    """Calls the function that `module:function` or `file.py:function` names.

    Args:
        reference: Modules are looked for in the current folder too.

    Returns:
        `(f, params, x1)` or `(f, params, x1, x2)`.

    Raises:
        ProblemReferenceError: There is no such function, it raises an exception, or
            returns something else.
    """
    where, _, name = reference.rpartition(":")
    if not where or not name:
        raise ProblemReferenceError(
            reference=reference, reason="a colon with a name on both sides is missing"
        )
    module = load_module(where, reference)
    function: Callable[[], Any] | None = getattr(module, name, None)
    if not callable(function):
        raise ProblemReferenceError(
            reference=reference, reason=f"{where} has no function {name}"
        )
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise ProblemReferenceError(
            reference=reference,
            reason=f"{name} has to be called without arguments ({error})",
        ) from error
    except ValueError:
        pass  # No signature can be had: what was written in C, for instance.
    with said_of(reference, f"{name}()"):
        problem = function()
    if not isinstance(problem, tuple) or len(problem) not in (3, 4):
        what = type(problem).__name__
        if isinstance(problem, tuple):
            what = f"tuple of {len(problem)}"
        raise ProblemReferenceError(
            reference=reference, reason=f"{name}() returned a {what}"
        )
    return problem


def load_module(where: str, reference: str) -> ModuleType:
    """Imports a module by its name, or from its file."""
    if where.endswith(".py"):
        path = pathlib.Path(where)
        if not path.is_file():
            raise ProblemReferenceError(
                reference=reference, reason=f"there is no file {where}"
            )
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        with found_first(path.parent), said_of(reference, f"importing {where}"):
            spec.loader.exec_module(module)
        return module
    with found_first(pathlib.Path()), said_of(reference, f"importing {where}"):
        try:
            return importlib.import_module(where)
        except ModuleNotFoundError as error:
            # A module that the user's own module misses is said as any other error.
            if error.name is None or not f"{where}.".startswith(f"{error.name}."):
                raise
            raise ProblemReferenceError(
                reference=reference, reason=f"there is no module {error.name}"
            ) from error


@contextlib.contextmanager
def said_of(reference: str, what: str) -> Iterator[None]:
    """Says in a few lines what the user's own code raised, and where.

    Args:
        reference: What was given on the command line.
        what: What is done with it.

    Raises:
        ProblemReferenceError: In place of any other exception, which is its cause.
    """
    try:
        yield
    except NtkPlanError:
        raise
    except Exception as error:
        raise ProblemReferenceError(
            reference=reference,
            reason=f"{what} raised {short_text(error)}{place_of(error)}",
        ) from error


@contextlib.contextmanager
def found_first(folder: pathlib.Path) -> Iterator[None]:
    """Lets imports look into a folder first, as `python file.py` does."""
    entry = str(folder.resolve())
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(entry)
