"""Kernel ridge regression in float64."""

from __future__ import annotations

import numpy as np

from ntkplan.errors import SingularKernelError


def fit(kernel: np.ndarray, targets: np.ndarray, *, ridge: float) -> np.ndarray:
    """Solves `(kernel + ridge * mean(diagonal) * identity) weights = targets`.

    Args:
        kernel: Between the training examples, `[n_train, n_train]`.
        targets: `[n_train, n_targets]`.
        ridge: As a fraction of the kernel's mean diagonal entry, above 0.

    Returns:
        Dual weights, float64 `[n_train, n_targets]`; predictions are
        `kernel_between_test_and_train @ weights`.

    Raises:
        SingularKernelError: The kernel holds no finite numbers, or is not positive
            definite with this ridge.

    Example:
        >>> kernel = np.array([[2.0, 1.0], [1.0, 2.0]])
        >>> weights = fit(kernel, np.array([[1.0], [0.0]]), ridge=1e-9)
        >>> (kernel @ weights).round(6).tolist()
        [[1.0], [0.0]]
    """
    matrix = np.array(kernel, np.float64)
    n_train = len(matrix)
    if not np.isfinite(matrix).all():
        raise SingularKernelError(
            n_train=n_train, ridge=ridge, reason="the kernel holds NaN or infinity"
        )
    matrix[np.diag_indices(n_train)] += ridge * np.trace(matrix) / n_train
    try:
        factor = np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        raise SingularKernelError(
            n_train=n_train, ridge=ridge, reason="the kernel is not positive definite"
        ) from None
    half = np.linalg.solve(factor, np.asarray(targets, np.float64))
    return np.linalg.solve(factor.T, half)


def accuracy(scores: np.ndarray, labels: np.ndarray) -> float:
    """Returns the fraction of rows of `scores` that are largest at their label."""
    return float(np.mean(np.argmax(scores, axis=1) == labels))
