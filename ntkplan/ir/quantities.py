"""Counts and times as people write them."""

from __future__ import annotations


def quantity(count: float) -> str:
    """Returns a count with an SI prefix.

    Example:
        >>> quantity(2_500_000)
        '2.5 M'
    """
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= factor:
            return f"{count / factor:.3g} {prefix}"
    return f"{count:.0f} "


def duration(seconds: float) -> str:
    """Returns a time as people write it.

    Example:
        >>> duration(0.0025)
        '2.5 ms'
    """
    for factor, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if seconds >= factor:
            return f"{seconds / factor:.3g} {unit}"
    return f"{seconds / 1e-9:.0f} ns" if seconds > 0 else "0 s"


def counted(count: int, one: str, several: str = "") -> str:
    """Returns a count with what is counted, in the singular where it is one.

    Args:
        count: How many there are.
        one: What is counted.
        several: Its plural; empty for the singular and an s.

    Example:
        >>> counted(1, "output"), counted(2, "output"), counted(0, "leaf", "leaves")
        ('1 output', '2 outputs', '0 leaves')
    """
    return f"{count} {one if count == 1 else several or one + 's'}"
