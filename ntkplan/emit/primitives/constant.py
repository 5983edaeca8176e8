"""Closed-over arrays: a number, a short list, or a constant of the module."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ntkplan._jax import Var
from ntkplan.emit.expression import Expression, call, sequence
from ntkplan.emit.primitives.context import Module
from ntkplan.emit.primitives.value import (
    Value,
    array_value,
    aval_of,
    dtype_text,
    number_text,
    number_value,
    whole,
)

_LARGEST_LIST = 8


def constant_value(variable: Var, array: Any, module: Module) -> Value:
    """What prints for an array that a function closed over."""
    aval = aval_of(variable)
    if jnp.issubdtype(aval.dtype, jax.dtypes.prng_key):
        name = module.constant(variable, np.asarray(jax.random.key_data(array)))
        implementation = f'"{jax.random.key_impl(array)}"'
        text = f"jax.random.wrap_key_data({name}, impl={implementation})"
        return array_value(text, aval)
    numbers = np.asarray(array).astype(aval.dtype)
    if numbers.size and _is_uniform(numbers):
        return number_value(numbers.reshape(-1)[0], aval.dtype, aval.shape)
    if numbers.size <= _LARGEST_LIST and numbers.ndim <= 2 and _is_plain(aval.dtype):
        listed = _nested_list(numbers)
        expression = call("jnp.array", listed, dtype=dtype_text(aval.dtype))
        return whole(expression, aval)
    return array_value(module.constant(variable, numbers), aval)


def _is_uniform(numbers: np.ndarray) -> bool:
    """Whether all elements are the same bits, so that a zero's sign counts too."""
    flat = np.ascontiguousarray(numbers).reshape(-1)
    raw = flat.view(np.uint8).reshape(flat.size, -1)
    return bool((raw == raw[0]).all())


def _is_plain(dtype: Any) -> bool:
    return np.dtype(dtype).name in (
        *("bool", "int8", "int16", "int32", "uint8", "uint16"),
        *("float16", "bfloat16", "float32", "float64"),
    )


def _nested_list(numbers: np.ndarray) -> Expression:
    return sequence(
        [
            _nested_list(item) if item.ndim else number_text(item[()])
            for item in map(np.asarray, numbers)
        ],
        brackets="[]",
    )
