"""Functions that the emitted module defines where its kernel calls them."""

from __future__ import annotations

from collections.abc import Sequence

from ntkplan.emit.window_text import dilates, pads_to_same
from ntkplan.ir.program import Block
from ntkplan.ir.statements import (
    Contract,
    Cut,
    Match,
    Scatter,
    Statement,
    Take,
)

_WINDOWS = '''
def windows(
    x, window, strides, padding="SAME", input_dilation=None, window_dilation=None
):
    """Cuts [..., *spatial, c] into windows [..., *positions, *window, c]."""
    sizes = x.shape[-1 - len(window) : -1]
    if isinstance(padding, str):
        padding = jax.lax.padtype_to_pads(sizes, window, strides, padding)
    input_dilation = input_dilation or (1,) * len(window)
    window_dilation = window_dilation or (1,) * len(window)
    spatial = range(x.ndim - 1 - len(window), x.ndim - 1)
    config = [(0, 0, 0)] * x.ndim
    for axis, (low, high), step in zip(spatial, padding, input_dilation):
        config[axis] = (low, high, step - 1)
    x = jax.lax.pad(x, jnp.zeros((), x.dtype), config)
    pieces = []
    for offset in itertools.product(*map(range, window)):
        index = [slice(None)] * x.ndim
        for axis, i, size, stride, step in zip(
            spatial, offset, window, strides, window_dilation
        ):
            last = x.shape[axis] - (size - 1 - i) * step
            index[axis] = slice(i * step, last, stride)
        pieces.append(x[tuple(index)])
    stacked = jnp.stack(pieces, axis=-2)
    return stacked.reshape(*stacked.shape[:-2], *window, stacked.shape[-1])
'''

_MATCH_ROWS = '''
def match_rows(rows1, rows2, size):
    """Says where two rows are the same; a row from `size` up is none."""
    return (rows1 == rows2) & (rows1 < size)
'''

_SUM_ROWS = '''
def sum_rows(values, rows, size):
    """Sums values [*rows.shape, ...] by their rows into [size, ...]."""
    zeros = jnp.zeros((size, *values.shape[rows.ndim :]), values.dtype)
    return zeros.at[rows].add(values, mode="drop")
'''

_TAKE_ROWS = '''
def take_rows(values, rows):
    """Rows of values, zeros for a row that is none."""
    return jnp.take(values, rows, axis=0, mode="fill", fill_value=0)
'''

_INNER_PRODUCTS = '''
def inner_products(rows1, rows2, axes):
    """Inner products of rows of so many axes, as one product of two matrices."""
    shape1, shape2 = rows1.shape[:-axes], rows2.shape[:-axes]
    rows1 = rows1.reshape(math.prod(shape1), -1)
    rows2 = rows2.reshape(math.prod(shape2), -1)
    return jnp.matmul(rows1, rows2.T).reshape(*shape1, *shape2)
'''

_INNER_PRODUCTS_WITH_OPTIONS = '''
def inner_products(rows1, rows2, axes, **options):
    """Inner products of rows of so many axes, as one product of two matrices."""
    shape1, shape2 = rows1.shape[:-axes], rows2.shape[:-axes]
    rows1 = rows1.reshape(math.prod(shape1), -1)
    rows2 = rows2.reshape(math.prod(shape2), -1)
    products = jnp.matmul(rows1, rows2.T, **options)
    return products.reshape(*shape1, *shape2)
'''

_LOWER_BLOCKS = '''
def from_lower_blocks(function, side, count, axes, swapped):
    """A symmetric kernel, its blocks of rows computed as far as the diagonal.

    The rest are mirror images: `swapped` is the order of axes that makes them.
    """
    n = jax.tree.leaves(side)[0].shape[0]
    size = -(-n // count)
    rows, columns = axes

    def part(start, stop):
        return jax.tree.map(lambda array: array[start:stop], side)

    def wide(block):
        padding = [(0, 0)] * block.ndim
        padding[columns] = (0, n - block.shape[columns])
        return jnp.pad(block, padding)

    starts = range(0, n, size)
    blocks = [function(part(i, i + size), part(0, i + size)) for i in starts]
    lower = jnp.concatenate([wide(block) for block in blocks], axis=rows)
    number = jnp.arange(n) // size
    below = number[:, None] >= number
    others = [axis for axis in range(lower.ndim) if axis not in axes]
    below = jnp.expand_dims(below, others)
    return jnp.where(below, lower, lower.transpose(swapped))
'''

_IN_ORDER = '''
def in_order(array):
    """Has cotangents in memory as products read them; XLA for CPUs copies them else."""
    # JAX misreads an array that comes out of `jax.jit` right after a constraint.
    return 1.0 * with_layout_constraint(1.0 * array, Layout(tuple(range(array.ndim))))
'''

_HELPERS: tuple[tuple[type[Statement], str], ...] = (
    (Match, _MATCH_ROWS),
    (Scatter, _SUM_ROWS),
    (Take, _TAKE_ROWS),
)


_SAME_WINDOWS = '''
def windows(x, window, strides):
    """Cuts [..., *spatial, c] into windows [..., *positions, *window, c]."""
    sizes = x.shape[-1 - len(window) : -1]
    padding = jax.lax.padtype_to_pads(sizes, window, strides, "SAME")
    x = jnp.pad(x, [(0, 0)] * (x.ndim - len(window) - 1) + [*padding, (0, 0)])
'''

_PADDED_WINDOWS = '''
def windows(x, window, strides, padding="SAME"):
    """Cuts [..., *spatial, c] into windows [..., *positions, *window, c]."""
    first = x.ndim - 1 - len(window)
    if isinstance(padding, str):
        padding = jax.lax.padtype_to_pads(x.shape[first:-1], window, strides, padding)
    config = [(0, 0, 0)] * x.ndim
    config[first:-1] = [(low, high, 0) for low, high in padding]
    x = jax.lax.pad(x, jnp.zeros((), x.dtype), config)
'''

_CUT = """\
    pieces = []
    for offset in itertools.product(*map(range, window)):
        spatial = zip(offset, x.shape[-1 - len(window) :], window, strides)
        cut = [slice(i, i + size - k + 1, step) for i, size, k, step in spatial]
        pieces.append(x[..., *cut, :])
    stacked = jnp.stack(pieces, axis=-2)
    return stacked.reshape(*stacked.shape[:-2], *window, stacked.shape[-1])
"""


def helper_sections(
    blocks: Sequence[Block],
    *,
    with_options: bool,
    halved: bool = False,
    ordered: bool = False,
) -> list[str]:
    """Returns the source of the functions that the statements of blocks call.

    Args:
        blocks: What is printed.
        with_options: Whether products are told their precision or data type.
        halved: Whether it is computed in blocks that end at the diagonal.
        ordered: Whether it is said how cotangents are to lie in memory.
    """
    statements = [item for block in blocks for item in block.statements]
    helpers = [
        text
        for kind, text in _HELPERS
        if any(isinstance(item, kind) for item in statements)
    ]
    if cuts_windows(blocks):
        helpers.insert(0, _windows_helper(blocks))
    if multiplies_rows(blocks):
        options = _INNER_PRODUCTS_WITH_OPTIONS
        helpers.append(options if with_options else _INNER_PRODUCTS)
    if ordered:
        helpers.insert(0, _IN_ORDER)
    if halved:
        helpers.append(_LOWER_BLOCKS)
    return [f"\n{text.rstrip()}" for text in helpers]


def multiplies_rows(blocks: Sequence[Block]) -> bool:
    """Says whether a statement calls `inner_products`."""
    return any(
        isinstance(item, Contract) and item.is_of_rows
        for block in blocks
        for item in block.statements
    )


def cuts_windows(blocks: Sequence[Block]) -> bool:
    """Says whether a statement calls `windows`."""
    return bool(_windows_cut(blocks))


def _windows_cut(blocks: Sequence[Block]) -> list[Cut]:
    return [
        item
        for block in blocks
        for item in block.statements
        if isinstance(item, Cut) and not item.takes_entries
    ]


def _windows_helper(blocks: Sequence[Block]) -> str:
    """Returns the function that cuts windows, without what no window needs."""
    cuts = _windows_cut(blocks)
    if any(dilates(item) for item in cuts):
        return _WINDOWS
    head = _SAME_WINDOWS if all(map(pads_to_same, cuts)) else _PADDED_WINDOWS
    return head + _CUT
