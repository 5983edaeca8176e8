"""Functions that the emitted module defines where its kernel calls them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ntkplan.emit.window_text import (
    WINDOW_PIECES,
    WINDOWS,
    WINDOWS_AND_ONE,
    dilates,
    pads_to_same,
)
from ntkplan.ir.program import Block
from ntkplan.ir.statements import (
    Contract,
    Cut,
    Match,
    Scatter,
    Statement,
    Take,
)

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Cutting:
    """How windows are cut into pieces, one for every entry of a window.

    Attributes:
        header: The first lines of the function that does.
        given: Its arguments.
        body: Its other lines, but for the last ones.
    """

    header: str
    given: str
    body: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Ending:
    """What is made of the pieces of windows.

    Attributes:
        what: What it is, as a docstring.
        body: Lines that return it.
        given: Further arguments.
    """

    what: str
    body: str
    given: str = ""


_STACKED = _Ending(
    what="Cuts [..., *spatial, c] into windows [..., *positions, *window, c].",
    body="""\
    stacked = jnp.stack(pieces, axis=-2)
    return stacked.reshape(*stacked.shape[:-2], *window, stacked.shape[-1])
""",
)

_WITH_ONE = _Ending(
    what="Cuts windows and features as rows, and puts a one after each, for the bias.",
    body="""\
    one = jnp.ones((*pieces[0].shape[:-1], 1), x.dtype)
    return jnp.concatenate([*pieces, one], axis=-1)
""",
)

_WITH_SCALE = _Ending(
    what="Cuts windows and features as rows, and puts the bias's scale after each.",
    body="""\
    one = jnp.full((*pieces[0].shape[:-1], 1), scale, x.dtype)
    return jnp.concatenate([*pieces, one], axis=-1)
""",
    given=", scale=1",
)

_PIECES = _Ending(
    what="Cuts [..., *spatial, c] into the first entries of all windows, and so on.",
    body="    return pieces\n",
)

_CUT = """\
    pieces = []
    for offset in itertools.product(*map(range, window)):
        spatial = zip(offset, x.shape[-1 - len(window) :], window, strides)
        cut = [slice(i, i + size - k + 1, step) for i, size, k, step in spatial]
        pieces.append(x[..., *cut, :])
"""

_SAME_WINDOWS = _Cutting(
    header="def {name}(x, window, strides{more}):",
    given="x, window, strides",
    body="""\
    sizes = x.shape[-1 - len(window) : -1]
    padding = jax.lax.padtype_to_pads(sizes, window, strides, "SAME")
    x = jnp.pad(x, [(0, 0)] * (x.ndim - len(window) - 1) + [*padding, (0, 0)])
"""
    + _CUT,
)

_PADDED_WINDOWS = _Cutting(
    header='def {name}(x, window, strides, padding="SAME"{more}):',
    given="x, window, strides, padding",
    body="""\
    first = x.ndim - 1 - len(window)
    if isinstance(padding, str):
        padding = jax.lax.padtype_to_pads(x.shape[first:-1], window, strides, padding)
    config = [(0, 0, 0)] * x.ndim
    config[first:-1] = [(low, high, 0) for low, high in padding]
    x = jax.lax.pad(x, jnp.zeros((), x.dtype), config)
"""
    + _CUT,
)

_DILATED_WINDOWS = _Cutting(
    header="""\
def {name}(
    x, window, strides, padding="SAME", input_dilation=None, window_dilation=None{more}
):""",
    given="x, window, strides, padding, input_dilation, window_dilation",
    body="""\
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
""",
)


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
    helpers[:0] = _windows_helpers(blocks)
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
    """Says whether a statement cuts windows."""
    return bool(_windows_cut(blocks))


def _windows_cut(blocks: Sequence[Block]) -> list[Cut]:
    return [
        item
        for block in blocks
        for item in block.statements
        if isinstance(item, Cut) and not item.takes_entries
    ]


def _windows_helpers(blocks: Sequence[Block]) -> list[str]:
    """Returns the functions that cut windows, without what no window needs."""
    cuts = _windows_cut(blocks)
    if any(dilates(item) for item in cuts):
        cutting = _DILATED_WINDOWS
    else:
        cutting = _SAME_WINDOWS if all(map(pads_to_same, cuts)) else _PADDED_WINDOWS
    scales = {item.bias_scale for item in cuts}
    endings = {WINDOWS: _STACKED} if None in scales else {}
    if scales - {None}:
        endings[WINDOWS_AND_ONE] = _WITH_SCALE if scales - {None, 1.0} else _WITH_ONE
    if len(endings) < 2:
        return [_helper(*each, cutting, cutting.body) for each in endings.items()]
    pieces = f"    pieces = {WINDOW_PIECES}({cutting.given})\n"
    return [
        _helper(WINDOW_PIECES, _PIECES, cutting, cutting.body),
        *(_helper(*each, cutting, pieces) for each in endings.items()),
    ]


def _helper(name: str, ending: _Ending, cutting: _Cutting, body: str) -> str:
    header = cutting.header.format(name=name, more=ending.given)
    return f'\n{header}\n    """{ending.what}"""\n{body}{ending.body}'
