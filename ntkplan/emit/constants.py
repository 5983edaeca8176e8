"""Arrays that a module closes over: in its text, or beside it, checked by hash."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy

from ntkplan.emit.layout import LINE_WIDTH
from ntkplan.emit.primitives.value import number_text

MOST_IN_TEXT = 64
"""Numbers of an array that is written into the text."""

_INDENT = "    "
_PLAIN = ("bool", "int8", "int16", "int32", "uint8", "uint16", "uint32", "float32")
_LOAD = 'CONSTANTS = numpy.load(pathlib.Path(__file__).with_suffix(".npz"))'

READ_CONSTANTS = '''
def read_constants(sha256):
    """Reads the arrays beside this file, if they are those it was written with."""
    path = pathlib.Path(__file__).with_suffix(".npz")
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: it belongs beside {__file__}")
    arrays, digest = dict(numpy.load(path)), hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    if digest.hexdigest() != sha256:
        raise ValueError(f"{path} is not what {__file__} was written with")
    return arrays
'''


def storable(array: Any) -> numpy.ndarray:
    """Returns an array as `.npz` can hold it: what numpy has no type for, as integers.

    Example:
        >>> import jax.numpy as jnp
        >>> storable(jnp.ones(2, jnp.bfloat16)).dtype
        dtype('uint16')
    """
    found = numpy.asarray(array)
    if found.dtype.kind != "V" and found.dtype.isbuiltin == 1:
        return found
    return found.view(f"uint{8 * found.dtype.itemsize}")


def digest_of(constants: Mapping[str, Any]) -> str:
    """Returns the hash that the emitted `read_constants` computes."""
    digest = hashlib.sha256()
    for name, array in sorted(constants.items()):
        held = storable(array)
        digest.update(f"{name} {held.dtype} {held.shape}".encode())
        digest.update(held.tobytes())
    return digest.hexdigest()


def in_text(constants: Mapping[str, Any]) -> dict[str, Any]:
    """Returns those of some arrays that are small enough for the text."""
    return {
        name: array
        for name, array in constants.items()
        if numpy.size(array) <= MOST_IN_TEXT and str(array.dtype) in _PLAIN
    }


def constant_section(constants: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Prints the definitions of a module's arrays.

    Returns:
        The text, and the arrays that have to stand beside it.
    """
    small = in_text(constants)
    beside = {name: item for name, item in constants.items() if name not in small}
    lines: list[str] = []
    for name in sorted(small):
        lines += _literal_lines(name, numpy.asarray(small[name]))
    if beside:
        called = ["CONSTANTS = read_constants(", f'    "{digest_of(beside)}"', ")"]
        lines = [READ_CONSTANTS, "", *lines, *called]
    for name in sorted(beside):
        dtype = numpy.asarray(beside[name]).dtype
        value = f'jnp.asarray(CONSTANTS["{name}"])'
        if storable(beside[name]).dtype != dtype:
            value += f".view(jnp.{dtype})"
        lines.append(f"{name} = {value}")
    return "\n".join(["", *lines] if lines else []), beside


def is_definition(line: str, constants: Mapping[str, Any]) -> bool:
    """Says whether a line of a module reads one of its arrays, or the file of all."""
    return line == _LOAD or any(
        line == f'{name} = jnp.asarray(CONSTANTS["{name}"])' for name in constants
    )


def _literal_lines(name: str, array: numpy.ndarray) -> list[str]:
    """Prints an array, its lines filled up."""
    pieces = _pieces(array)
    pieces[0] = f"{name} = jnp.array({pieces[0]}"
    pieces[-1] += ","
    pieces.append(f"jnp.{array.dtype})")
    one_line = " ".join(pieces)
    if len(one_line) <= LINE_WIDTH:
        return [one_line]
    pieces[-1] += "  # fmt: skip"
    lines = [pieces[0]]
    for piece in pieces[1:]:
        if len(lines[-1]) + 1 + len(piece) > LINE_WIDTH:
            lines.append(f"{_INDENT}{piece}")
        else:
            lines[-1] += f" {piece}"
    return lines


def _pieces(array: numpy.ndarray) -> list[str]:
    """Returns the numbers with their brackets and commas."""
    if array.ndim == 0:
        return [number_text(array[()])]
    if array.shape[0] == 0:
        return ["[]"]
    found: list[str] = []
    for index, item in enumerate(array):
        inner = _pieces(numpy.asarray(item))
        if index + 1 < len(array):
            inner[-1] += ","
        found += inner
    found[0] = f"[{found[0]}"
    found[-1] += "]"
    return found
