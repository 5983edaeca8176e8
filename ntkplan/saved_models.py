"""Saved files that import the user's function, compared with what was planned."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy

from ntkplan.emit.load import load
from ntkplan.emit.model_parts import Model, with_model
from ntkplan.emit.source import Module
from ntkplan.errors import (
    ArgumentTypeError,
    ModelReferenceError,
    NtkPlanWarning,
)
from ntkplan.trace.leaves import shape_of

_N_EXAMPLES = 2
_NEEDLESS = (
    "model={reference!r} is not needed: all of the model has source, and the file does "
    "not import it. Leave model= out."
)
_TOLERANCE = 1e-4


def module_with_model(
    module: Module,
    reference: str,
    *,
    params: Any,
    x: Any,
    batch_axis: int | None,
) -> Module:
    """Returns a module that imports the user's function for what has no source.

    It is run once beside the one it was made from, on random arrays.

    Args:
        module: A finished module, which calls some parts of the model by reference.
        reference: `package.module:function`, importable as it is where the file will
            be imported; the function is the model, `f(params, x)`.
        params: Tree of `jax.ShapeDtypeStruct`s.
        x: Likewise.
        batch_axis: The example axis of every array of `x`, or None.

    Raises:
        ArgumentTypeError: The reference is no text.
        ModelReferenceError: There is no such function, or it is not the model.
        UnprintableError: Parts of the model are not found in it.
    """
    if not isinstance(reference, str):
        raise ArgumentTypeError(
            name="model", value=reference, wanted='text, "package.module:function"'
        )
    if not module.references:
        warnings.warn(_NEEDLESS.format(reference=reference), NtkPlanWarning, 4)
        return module
    where, _, name = reference.partition(":")
    model = Model(
        module=where,
        name=name,
        function=_imported(reference, where, name),
        params=params,
        x=jax.tree.map(lambda spec: _resized(spec, batch_axis, 1), x),
        batch_axis=batch_axis,
    )
    planned = _namespace(module)
    # Random arrays of the file's tables are no tree that the function takes.
    checks_itself = jax.tree.structure(planned["PARAMS"]) == jax.tree.structure(params)
    made = with_model(module, model, checks_itself=checks_itself)
    if not _agree(planned, _namespace(made), params, x, batch_axis):
        raise ModelReferenceError(
            reference=reference,
            reason="with it the kernel is not the one that was planned",
        )
    return made


def _imported(reference: str, where: str, name: str) -> Callable[..., Any]:
    if not all(part.isidentifier() for part in where.split(".")) or not name:
        raise ModelReferenceError(
            reference=reference, reason="it is not of the form package.module:function"
        )
    try:
        with _current_folder_first():
            function = getattr(importlib.import_module(where), name, None)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{where}.".startswith(f"{error.name}."):
            raise
        raise ModelReferenceError(
            reference=reference, reason=f"there is no module {error.name}"
        ) from error
    if not callable(function):
        raise ModelReferenceError(
            reference=reference, reason=f"{where} has no function {name}"
        )
    # Functions without a signature are found out by calling them.
    with contextlib.suppress(ValueError):
        try:
            inspect.signature(function).bind("params", "x")
        except TypeError as error:
            raise ModelReferenceError(
                reference=reference,
                reason=f"{name} does not take params and x ({error})",
            ) from None
    return function


@contextlib.contextmanager
def _current_folder_first() -> Iterator[None]:
    sys.path.insert(0, "")
    try:
        yield
    finally:
        sys.path.remove("")


def _resized(value: Any, batch_axis: int | None, length: int) -> Any:
    spec = shape_of(value)
    shape = list(spec.shape)
    if batch_axis is not None:
        shape[batch_axis] = length
    return jax.ShapeDtypeStruct(tuple(shape), spec.dtype)


def _namespace(module: Module) -> dict[str, Any]:
    return load(module.text, constants=module.constants, references=module.references)


def _agree(
    planned: Mapping[str, Any],
    made: Mapping[str, Any],
    params: Any,
    x: Any,
    batch_axis: int | None,
) -> bool:
    """Says whether two modules compute the same kernel of random arrays."""
    rng = numpy.random.default_rng(0)

    def draw(spec: Any) -> Any:
        if jax.numpy.issubdtype(spec.dtype, jax.dtypes.prng_key):
            return jax.random.split(jax.random.key(0), spec.shape)
        if not jax.numpy.issubdtype(spec.dtype, jax.numpy.floating):
            return jax.numpy.zeros(spec.shape, spec.dtype)
        return jax.numpy.asarray(rng.uniform(0.5, 1.0, spec.shape), spec.dtype)

    examples = jax.tree.map(lambda s: _resized(s, batch_axis, _N_EXAMPLES), x)
    given = jax.tree.map(draw, (params, examples))
    one, other = (
        jax.tree.leaves(namespace["kernel"](*given)) for namespace in (planned, made)
    )
    return all(
        first.shape == second.shape
        and numpy.allclose(first, second, rtol=_TOLERANCE, equal_nan=True)
        for first, second in zip(one, other, strict=True)
    )
