"""An emitted module as a file, and beside it the arrays too large for its text."""

from __future__ import annotations

from pathlib import Path

from ntkplan.compiling import warn_of_sums
from ntkplan.emit.load import save_constants
from ntkplan.emit.source import Module
from ntkplan.errors import UnprintableError
from ntkplan.files import given_path, writing
from ntkplan.saved_models import module_with_model
from ntkplan.signature import Signature


def save_module(
    module: Module, path: str | Path, signature: Signature, model: str | None
) -> Path:
    """Writes an emitted module, and beside it the arrays too large for its text.

    Args:
        module: The finished module.
        path: Where to.
        signature: Shapes that the kernel takes.
        model: Where the model is imported from, for what has no source, or None.

    Raises:
        ArgumentTypeError: The path is none.
        ModelReferenceError: `model` names no function, or one that is not the model.
        UnprintableError: Parts of the model have no source.
        UnwritableFileError: The file cannot be written.
    """
    target = given_path(path)
    if model is not None:
        module = module_with_model(
            module,
            model,
            params=signature.params,
            x=signature.x,
            batch_axis=signature.batch_axis,
        )
    if module.references:
        raise UnprintableError.of(module.references, module.reasons)
    warn_of_sums("from a file")
    with writing(target):
        target.write_text(module.text, encoding="utf-8")
        save_constants(module.constants, target)
    return target
