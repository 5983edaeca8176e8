"""Functions of emitted modules that apply others to tiles of arrays."""

from __future__ import annotations

from ntkplan.emit.layout import INDENT, WIDTH
from ntkplan.emit.wrapping import wrapped
from ntkplan.ir.program import Program
from ntkplan.methods.network import DIAGONAL, FULL

_OVER_TILES = '''
def over_tiles(function, arrays, size, axis{upto}):
    """Applies a function to tiles of arrays, and puts the results together.

    {about}
    """
    n = jax.tree.leaves(arrays)[0].shape[0]
    size = min(size, n)

    def tile(start):
        return jax.tree.map(
            lambda array: jax.lax.dynamic_slice_in_dim(array, start, size), arrays
        )
{result}
    def put(i, results):
        start = jnp.minimum(i * size, n - size)
{added}        part = {part}
        return jax.lax.dynamic_update_slice_in_dim(results, part, start, axis)

    part = jax.eval_shape(function, jax.eval_shape(tile, 0))
    shape = list(part.shape)
{shape}
    zeros = jnp.zeros(shape, part.dtype)
    return jax.lax.fori_loop(0, -(-n // size), put, zeros)
'''

_EARLY = "The last tile begins so early that it is as large as the others."
_ALONG = "Results lie along an axis, or are added up where that is None."
_UPTO = "Where `upto` is given, those of tiles that begin behind it are zeros."

_RESULT = """
    def result(start):
        if upto is None:
            return function(tile(start))
        zeros = jnp.zeros(part.shape, part.dtype)
        return jax.lax.cond(start <= upto, lambda: function(tile(start)), lambda: zeros)
"""

_ADDED = """\
        if axis is None:
            new = start + jnp.arange(size) >= i * size
            once = jax.tree.map(
                lambda array: jnp.where(
                    new.reshape(-1, *[1] * (array.ndim - 1)), array, 0
                ),
                tile(start),
            )
            return results + function(once)
"""

_LOWER = '''
def over_lower_tiles(row, arrays, size, axes, swapped):
    """A symmetric kernel by rows of tiles, each computed as far as the diagonal.

    The rest are mirror images: `swapped` is the order of axes that makes them.
    """
    number = jnp.arange(jax.tree.leaves(arrays)[0].shape[0])
    lower = over_tiles(
        lambda own: row(own[0], own[1][-1]), (arrays, number), size, axes[0]
    )
    others = [axis for axis in range(lower.ndim) if axis not in axes]
    below = jnp.expand_dims(number[:, None] >= number, others)
    return jnp.where(below, lower, lower.transpose(swapped))
'''


def tile_helpers(program: Program) -> list[str]:
    """Returns the source of the functions that a kernel in tiles calls."""
    if program.tiling is None:
        return []
    labels = program.kernel_labels
    adds = program.tiles_outputs and not {FULL[0], DIAGONAL} & {*labels}
    mirrors = program.mirrors_tiles
    about = [_EARLY, *([_ALONG] if adds else []), *([_UPTO] if mirrors else [])]
    put_along = "shape[axis] = n"
    over_tiles = _OVER_TILES.format(
        upto=", upto=None" if mirrors else "",
        about=f"\n{INDENT}".join(wrapped(" ".join(about), WIDTH)),
        result=_RESULT if mirrors else "",
        added=_ADDED if adds else "",
        part="result(start)" if mirrors else "function(tile(start))",
        shape=f"    if axis is not None:\n        {put_along}"
        if adds
        else f"    {put_along}",
    )
    return [over_tiles, _LOWER] if mirrors else [over_tiles]
