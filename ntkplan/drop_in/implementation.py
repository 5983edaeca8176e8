"""The names and numbers that neural_tangents gives its implementations."""

from __future__ import annotations

import enum

from ntkplan.errors import UnknownOptionError


class NtkImplementation(enum.IntEnum):
    """Which methods a kernel may use; the kernel is the same.

    Attributes:
        AUTO: Every method, chosen leaf by leaf by estimated cost.
        JACOBIAN_CONTRACTION: Both Jacobians, then their product.
        NTK_VECTOR_PRODUCTS: One pull-back and one push-forward per output.
        STRUCTURED_DERIVATIVES: The cheapest order that never forms both Jacobians. A
            leaf without structure goes through its Jacobian.
    """

    AUTO = 0
    JACOBIAN_CONTRACTION = 1
    NTK_VECTOR_PRODUCTS = 2
    STRUCTURED_DERIVATIVES = 3


def methods_of(implementation: NtkImplementation | int | str) -> str | None:
    """Returns what `ntkplan.plan` knows as `methods=`.

    Args:
        implementation: A member, its number, or its name in any case. The members of
            neural_tangents' own enumeration are such numbers.

    Raises:
        UnknownOptionError: It is none of them.

    Example:
        >>> methods_of(3), methods_of("ntk_vector_products"), methods_of("auto")
        ('structured_derivatives', 'ntk_vector_products', None)
    """
    found = None
    if isinstance(implementation, str):
        found = NtkImplementation.__members__.get(implementation.upper())
    elif isinstance(implementation, int) and not isinstance(implementation, bool):
        found = next((one for one in NtkImplementation if one == implementation), None)
    if found is None:
        known = [f"{one.name.lower()} ({one.value})" for one in NtkImplementation]
        raise UnknownOptionError(
            option="implementation", value=implementation, known=tuple(known)
        )
    return None if found is NtkImplementation.AUTO else found.name.lower()
