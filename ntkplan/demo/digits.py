"""The UCI handwritten digits, from the copy that comes with the package."""

from __future__ import annotations

import dataclasses
import importlib.resources

import numpy as np

N_CLASSES = 10
N_TRAIN_AND_TEST = 1797
LARGEST_PIXEL = 16


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Digits:
    """Images and what they show.

    Attributes:
        images: float32 `[n, 8, 8, 1]`, from 0 (white) to 1 (black).
        labels: int `[n]`, 0 to 9.
    """

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        """Returns the number of images."""
        return len(self.labels)

    def centred_one_hot(self) -> np.ndarray:
        """Returns regression targets, float64 `[n, 10]`, each row summing to zero."""
        return np.eye(N_CLASSES)[self.labels] - 1 / N_CLASSES


def load_digits(n_train: int, n_test: int) -> tuple[Digits, Digits]:
    """Takes the first images for training and the last ones for testing.

    The images stand in the order in which people wrote them, so most of the hands in
    the test set are not in the training set; nothing is shuffled.

    Args:
        n_train: Training images.
        n_test: Test images.

    Example:
        >>> train, test = load_digits(1000, 797)
        >>> train.images.shape, test.labels[-3:].tolist()
        ((1000, 8, 8, 1), [8, 9, 8])
    """
    if min(n_train, n_test) < 1 or n_train + n_test > N_TRAIN_AND_TEST:
        raise ValueError(f"{n_train} + {n_test} of {N_TRAIN_AND_TEST} images")
    package = importlib.resources.files("ntkplan.demo")
    with (
        (package / "data" / "digits.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        images = arrays["images"].astype(np.float32)[..., None] / LARGEST_PIXEL
        labels = arrays["labels"].astype(np.int64)
    test_start = len(labels) - n_test
    return (
        Digits(images=images[:n_train], labels=labels[:n_train]),
        Digits(images=images[test_start:], labels=labels[test_start:]),
    )
