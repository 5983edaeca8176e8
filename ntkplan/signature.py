"""What a kernel takes, and the checks of what it is given."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import numpy

from ntkplan.arguments import require_arrays
from ntkplan.errors import InvalidSizeError, MismatchedInputsError
from ntkplan.ir.kernel import KernelSpec
from ntkplan.ir.quantities import counted
from ntkplan.stand_ins import has_stand_ins

# Arrays of x that a plan's `repr` names.
_MOST_ARRAYS = 3


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Signature:
    """Shapes and dtypes that a kernel was planned for.

    Attributes:
        params: Tree of `jax.ShapeDtypeStruct`.
        x: Likewise, with the number of examples in `x1`.
        batch_axis: The example axis of every array of `x`, or None.
        call: How the plan was asked for, as Python text.
    """

    params: Any
    x: Any
    batch_axis: int | None
    call: str = ""

    @property
    def fields(self) -> list[object]:
        """Shapes and dtypes in the order of `jax.tree`, as JSON can hold them."""
        specs = jax.tree.leaves((self.params, self.x))
        return [self.batch_axis, *([list(s.shape), str(s.dtype)] for s in specs)]

    def brief(self, kind: object, headline: str, device: str) -> str:
        """Returns in a line what a plan or a kernel is, for `repr`.

        Args:
            kind: The plan or the kernel.
            headline: What it is of, in words.
            device: What it was planned for.
        """
        leaves = jax.tree.leaves(self.params)
        size = sum(math.prod(leaf.shape) for leaf in leaves)
        arrays = [
            f"{s.dtype}[{','.join(map(str, s.shape))}]" for s in jax.tree.leaves(self.x)
        ]
        more = ", ..." if len(arrays) > _MOST_ARRAYS else ""
        return (
            f"<{type(kind).__name__}: {headline}; x {', '.join(arrays[:_MOST_ARRAYS])}"
            f"{more}; {size:,} parameters in {counted(len(leaves), 'leaf', 'leaves')}; "
            f"for {device}>"
        )


def sizes_asked_for(
    spec: KernelSpec,
    planned: tuple[int, int | None],
    n1: int | None,
    n2: int | None,
) -> tuple[int, int | None]:
    """Checks numbers of examples to plan for, and returns them.

    Args:
        spec: What the kernel is.
        planned: How many of both there were before.
        n1: Examples in `x1`; None for as many as before.
        n2: Examples in `x2`; None for as many as before, or none.

    Raises:
        InvalidSizeError: A number is below one or not whole, or the plan is of a whole
            batch.
    """
    for name, count in (("n1", n1), ("n2", n2)):
        if count is None:
            continue
        if isinstance(count, bool) or not isinstance(count, int | numpy.integer):
            raise InvalidSizeError(
                what=f"{name} is {count!r}", hint="Plan for a whole number of examples"
            )
        if count < 1:
            raise InvalidSizeError(
                what=f"{name} is {count}", hint="Plan for at least one example"
            )
    if spec.whole_batch and (n1, n2) != (None, None):
        raise InvalidSizeError(
            what="the plan is of a whole batch, whose examples interact",
            hint="Plan again with a batch of another size",
        )
    return (
        planned[0] if n1 is None else int(n1),
        planned[1] if n2 is None else int(n2),
    )


def check_arguments(
    signature: Signature, params: Any, x1: Any, x2: Any, *, matched: bool
) -> None:
    """Checks what a kernel is called with against what it was planned for.

    Raises:
        MismatchedInputsError: Something has another shape, dtype or structure.
    """
    check_tree("params", params, signature.params, batch_axis=None)
    axis = signature.batch_axis
    for name, x in (("x1", x1), ("x2", x2)):
        if name == "x1" or x is not None:
            check_examples_tree(name, x, signature.x, batch_axis=axis)
    if matched and x2 is not None and axis is not None:
        check_same_count(x1, x2, axis)


def check_examples_tree(
    name: str, x: Any, wanted: Any, *, batch_axis: int | None
) -> None:
    """Checks examples; with `batch_axis=None` their number too.

    Raises:
        MismatchedInputsError: Something differs.
    """
    require_arrays(name, x, examples=batch_axis is not None)
    hint = f"Pass {name} as it was planned for, or plan again"
    if batch_axis is None:
        hint = (
            "With batch_axis=None the batch as a whole is one input: x1 and x2 have "
            "the shape that was planned for, their number of examples included. Pass "
            "as many examples, or plan again with a batch of this size"
        )
    check_tree(name, x, wanted, batch_axis=batch_axis, hint=hint)
    if batch_axis is not None and any(
        numpy.shape(array)[batch_axis] == 0 for array in jax.tree.leaves(x)
    ):
        raise MismatchedInputsError(
            what=f"the number of examples in {name}",
            got=0,
            wanted="at least 1",
            hint="Pass at least one example",
        )


def check_tree(
    name: str, tree: Any, wanted: Any, *, batch_axis: int | None, hint: str = ""
) -> None:
    """Checks structure, shapes and dtypes; the length of the example axis is free.

    Args:
        name: What the tree is called.
        tree: Arrays.
        wanted: `jax.ShapeDtypeStruct`s.
        batch_axis: The axis whose length is free, or None.
        hint: What to do about a difference.

    Raises:
        ArgumentTypeError: A leaf is no array.
        MismatchedInputsError: Something differs.
    """
    hint = hint or f"Pass {name} as it was planned for, or plan again"
    require_arrays(name, tree)
    structure = jax.tree.structure(tree)
    if not _is_alike(tree, wanted):
        raise MismatchedInputsError(
            what=f"the tree of {name}",
            got=structure,
            wanted=jax.tree.structure(wanted),
            hint=hint,
        )
    expected = jax.tree.leaves(wanted)
    for (keys, array), spec in zip(
        jax.tree_util.tree_leaves_with_path(tree), expected, strict=True
    ):
        got, need = list(numpy.shape(array)), list(spec.shape)
        if batch_axis is not None and len(got) == len(need):
            got[batch_axis] = need[batch_axis] = -1
        dtype = jax.numpy.result_type(array)
        if got != need or dtype != spec.dtype:
            place = jax.tree_util.keystr(keys)
            raise MismatchedInputsError(
                what=f"{name}{place}",
                got=f"{dtype}{_shown(got)}",
                wanted=f"{spec.dtype}{_shown(need)}",
                hint=hint,
            )


def _is_alike(tree: Any, wanted: Any) -> bool:
    """Says whether two trees have the same structure, as far as it is known."""
    if not has_stand_ins(wanted):
        return jax.tree.structure(tree) == jax.tree.structure(wanted)
    places, expected = (
        [keys for keys, _ in jax.tree_util.tree_leaves_with_path(each)]
        for each in (tree, wanted)
    )
    return places == expected


def _shown(shape: list[int]) -> str:
    return "[" + ", ".join("n" if size == -1 else str(size) for size in shape) + "]"


def check_same_count(x1: Any, x2: Any, batch_axis: int) -> None:
    """Checks that x1 and x2 hold as many examples, as matched pairs need.

    Raises:
        MismatchedInputsError: They do not.
    """
    counts = [numpy.shape(jax.tree.leaves(x)[0])[batch_axis] for x in (x1, x2)]
    if counts[0] != counts[1]:
        raise MismatchedInputsError(
            what='the number of examples in x2 with pairs="matched"',
            got=counts[1],
            wanted=counts[0],
            hint='Pass as many examples in x2 as in x1, or use pairs="all"',
        )
