"""Small models with one primitive between the parameters and the outputs."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import ntkplan
from ntkplan.cost.profile import DeviceProfile, Platform

N_EXAMPLES = 2
N_FEATURES = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrimitiveModel:
    """A product with a parameter, and an operation on what comes of it.

    Attributes:
        name: Unique; the first of the primitives where nothing else is said.
        primitives: Names of the primitives that the trace of the model must hold.
        operation: Applied to arrays of one example; returns an array or a tree of
            them, of which the inexact ones are the outputs.
        shapes: Of the operation's operands.
        whole: Whether the operation takes the examples of a batch at once, as their
            first axis; it is applied to one at a time otherwise.
        domain: Takes any real number to where the operation is smooth.
        by_reference: Whether no public function of JAX stands for a primitive, so that
            the kernel's source calls it by reference.
        slow: Whether it takes seconds to compile.
        tolerance: How far the kernel may be off, relative to its largest entry.
    """

    name: str
    primitives: tuple[str, ...]
    operation: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...] = ((4,),)
    whole: bool = False
    domain: Callable[[Any], Any] = lambda value: value
    by_reference: bool = False
    slow: bool = False
    tolerance: float = 1e-10

    def function(self, params: dict[str, Any], x: Any) -> Any:
        """Returns the outputs, `[n, o]`."""
        parts = jnp.split(self.domain(x @ params["w"]), self.places, axis=1)
        operands = [
            part.reshape(-1, *shape)
            for part, shape in zip(parts, self.shapes, strict=True)
        ]
        if self.whole:
            return as_outputs(self.operation(*operands), len(x))
        return jax.vmap(lambda *one: as_outputs(self.operation(*one), None))(*operands)

    @property
    def places(self) -> list[int]:
        """Where one operand ends and the next begins."""
        sizes = [math.prod(shape) for shape in self.shapes]
        return list(np.cumsum(sizes)[:-1])

    def arrays(self) -> tuple[dict[str, Any], Any]:
        """Returns params and examples in float64."""
        rng = np.random.default_rng(len(self.name))
        size = sum(math.prod(shape) for shape in self.shapes)
        w = rng.normal(size=(N_FEATURES, size)) / np.sqrt(N_FEATURES)
        return {"w": w}, rng.normal(size=(N_EXAMPLES, N_FEATURES))


def as_outputs(tree: Any, n_examples: int | None) -> Any:
    """Returns the inexact arrays of a tree side by side, complex ones as two reals.

    Args:
        tree: Arrays.
        n_examples: Length of the first axis of each, which is kept; None for none.
    """
    parts = []
    for leaf in jax.tree.leaves(tree):
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            continue
        is_complex = jnp.issubdtype(leaf.dtype, jnp.complexfloating)
        parts += [jnp.real(leaf), jnp.imag(leaf)] if is_complex else [leaf]
    kept = () if n_examples is None else (n_examples,)
    return jnp.concatenate([part.reshape(*kept, -1) for part in parts], axis=-1)


def model(primitives: str, operation: Callable[..., Any], **options: Any) -> Any:
    """Returns a model; `primitives` are names with spaces between them."""
    names = tuple(primitives.split())
    name = options.pop("name", names[0])
    return PrimitiveModel(name=name, primitives=names, operation=operation, **options)


@functools.cache
def any_cpu() -> DeviceProfile:
    """Returns the profile of a CPU, read once for all plans."""
    return next(item for item in ntkplan.devices() if item.platform is Platform.CPU)
