"""Which primitives of the installed JAX have a derivative."""

from __future__ import annotations

import importlib
import sys

# JAX has no public list of them, nor of those that it exports no object for.
from jax._src.interpreters import ad

from ntkplan._jax import Primitive

# Modules of JAX that define primitives and are not imported with it.
_MODULES = (
    "jax.custom_batching",
    "jax.custom_derivatives",
    "jax.experimental.checkify",
    "jax.experimental.pallas",
    "jax.scipy.linalg",
    "jax.scipy.special",
)
# The languages that kernels of an accelerator are written in.
_KERNEL_LANGUAGES = (
    "jax._src.pallas.mosaic",
    "jax._src.pallas.triton",
    "jax._src.pallas.cuda",
)
# Collectives of several processes, which other libraries import.
_MANY_PROCESSES = ("jax.experimental.multihost_utils",)


def differentiable_primitives() -> dict[str, Primitive]:
    """Returns every primitive of JAX itself with a forward-mode rule, by its name.

    Whatever other libraries and earlier imports brought along is left out.
    """
    for name in _MODULES:
        importlib.import_module(name)
    found: dict[str, Primitive] = {}
    for name, module in sorted(sys.modules.items()):
        if not name.startswith("jax.") and name != "jax":
            continue
        if name.startswith((*_KERNEL_LANGUAGES, *_MANY_PROCESSES)):
            continue
        for value in list(vars(module).values()):
            if isinstance(value, Primitive) and value in ad.primitive_jvps:
                other = found.setdefault(value.name, value)
                assert other is value, f"two primitives are called {value.name}"
    return dict(sorted(found.items()))
