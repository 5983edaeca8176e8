"""The precision of every product that an emitted kernel makes, the model's included."""

from __future__ import annotations

SIXTEEN_BITS = ("bfloat16", "float16")
"""Data types of 16 bits, whose rounding shows in a kernel."""

# How far a kernel may be off whose float32 products are made with less than `highest`.
# One pass of a TPU's products rounds operands to bfloat16, to 2**-9 of their size, and
# TF32 of a GPU, which may stand for `high` there, to 2**-11. Some ten products follow
# upon each other in a model and its sweep, each with an error of its own, and where
# what they sum cancels, errors are larger beside the kernel's entries.
_ROUNDING = {"default": 0.05, "high": 0.01}


def jit_lines(precision: str | None) -> list[str]:
    """Prints what stands above an emitted kernel function.

    The precision holds for the kernel's contractions and for the model's own products,
    forward and backward: each of them is traced inside. A product whose precision the
    user set in the model keeps that, since it is printed with it.

    A kernel planned for a CPU is the same program at any precision, but its file may be
    run on another platform.

    Args:
        precision: Its name, or None where none was asked for: the highest.

    Example:
        >>> jit_lines("highest")
        ['@jax.jit', '@jax.default_matmul_precision("highest")']
    """
    return ["@jax.jit", f'@jax.default_matmul_precision("{precision or "highest"}")']


def rounding(precision: str) -> float:
    """Returns the relative error of a kernel that its products' precision explains.

    Args:
        precision: Its name.
    """
    return _ROUNDING.get(precision, 0.0)
