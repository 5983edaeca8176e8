"""What the machine can do at best: a large matrix product, and a copy."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

_SIDE = 3072
_COPIED = 2**26
"""Entries, of four bytes each."""
_TIMES = 7


def peaks() -> dict[str, float]:
    """Returns the rates that the machine reaches at best, float32.

    Returns:
        `flops_per_s` of a product of two square matrices, and `bytes_per_s`, read and
        written, of a large array that is multiplied by a number in place.
    """
    key = jax.random.PRNGKey(0)
    square = jax.random.normal(key, (_SIDE, _SIDE), jnp.float32)
    product_s = _least_s(jax.jit(jnp.matmul), square, square)
    long = jnp.zeros(_COPIED, jnp.float32)
    # Given away and taken back, so that no fresh page is written.
    scaled = jax.jit(lambda array: array * 1.5, donate_argnums=0)
    copy_s = _least_in_place_s(scaled, long)
    return {
        "flops_per_s": 2 * _SIDE**3 / product_s,
        "bytes_per_s": 2 * 4 * _COPIED / copy_s,
    }


def _least_s(function: Callable[..., Any], *arguments: Any) -> float:
    seconds: list[float] = []
    for _ in range(_TIMES):
        started_s = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        seconds.append(time.perf_counter() - started_s)
    return min(seconds[1:])


def _least_in_place_s(function: Callable[..., Any], array: Any) -> float:
    seconds: list[float] = []
    for _ in range(_TIMES):
        started_s = time.perf_counter()
        array = jax.block_until_ready(function(array))
        seconds.append(time.perf_counter() - started_s)
    return min(seconds[1:])
