"""Emitted modules as plain values that JSON can hold, and back."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import jax
import numpy

from ntkplan.emit.source import Module
from ntkplan.errors import UnprintableError


def module_fields(module: Module) -> dict[str, Any]:
    """Returns a module as plain values, its constants as text.

    Raises:
        UnprintableError: Parts of it run in this process alone.
    """
    if module.references:
        raise UnprintableError.of(
            module.references,
            module.reasons,
            what="its plan cannot be written as JSON",
            remedy="Replace them in the model, or keep a file that imports the model: "
            'plan.save(path, model="package.module:function")',
        )
    constants = {
        name: _array_fields(numpy.asarray(array))
        for name, array in sorted(module.constants.items())
    }
    return {"text": module.text, "constants": constants}


def module_of(fields: Mapping[str, Any]) -> Module:
    """Returns the module that `module_fields` wrote."""
    constants = {name: _array(item) for name, item in fields["constants"].items()}
    return Module(text=fields["text"], constants=constants, references={}, reasons={})


def _array_fields(array: numpy.ndarray) -> dict[str, Any]:
    data = base64.b64encode(numpy.ascontiguousarray(array).tobytes()).decode()
    return {"dtype": str(array.dtype), "shape": list(array.shape), "data": data}


def _array(fields: Mapping[str, Any]) -> numpy.ndarray:
    dtype = numpy.dtype(jax.numpy.dtype(fields["dtype"]))
    data = base64.b64decode(fields["data"], validate=True)
    return numpy.frombuffer(data, dtype).reshape(fields["shape"])
