"""The table of whole models, of the libraries that are installed."""

from __future__ import annotations

import importlib
import importlib.util

from tests.models.whole.model import WholeModel

# What each module needs is looked for first, as it skips where that is missing.
MODULES = {
    "tests.models.whole.nnx_models": ("flax",),
    "tests.models.whole.linen_models": ("flax",),
    "tests.models.whole.equinox_models": ("equinox",),
    "tests.models.whole.haiku_models": ("haiku", "optax"),
}

WHOLE_MODELS: tuple[WholeModel, ...] = tuple(
    model
    for module, libraries in MODULES.items()
    if all(importlib.util.find_spec(library) for library in libraries)
    for model in importlib.import_module(module).MODELS
)
