"""The precision of every product that an emitted kernel makes, the model's included."""

from __future__ import annotations


def jit_lines(precision: str | None) -> list[str]:
    """Prints what stands above an emitted kernel function.

    The precision holds for the kernel's contractions and for the model's own products,
    forward and backward: each of them is traced inside. A product whose precision the
    user set in the model keeps that, since it is printed with it.

    Args:
        precision: Its name, or None for what the platform does by itself.

    Example:
        >>> jit_lines("highest")
        ['@jax.jit', '@jax.default_matmul_precision("highest")']
    """
    if precision is None:
        return ["@jax.jit"]
    return ["@jax.jit", f'@jax.default_matmul_precision("{precision}")']
