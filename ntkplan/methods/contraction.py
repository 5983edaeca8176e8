"""Contraction orders: trees of pairwise products, as statements with their work."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ntkplan.cost.symbols import Size, product, total
from ntkplan.cost.work import Operation, OperationKind
from ntkplan.ir.statements import Array, Contract, Reduce, Statement
from ntkplan.methods.lookups import look_up

Tree = str | tuple["Tree", "Tree"]
"""A role (`C1`, `A1`, `A2`, `C2`) or a product of two trees."""


def trees(roles: Sequence[str]) -> Iterator[Tree]:
    """Yields every binary tree over the roles, left members in the roles' order.

    Example:
        >>> len(list(trees(("C1", "A1", "A2", "C2"))))
        15
    """
    if len(roles) == 1:
        yield roles[0]
        return
    first, rest = roles[0], roles[1:]
    for mask in range(2 ** len(rest) - 1):
        left = [first, *(role for bit, role in enumerate(rest) if mask >> bit & 1)]
        right = [role for bit, role in enumerate(rest) if not mask >> bit & 1]
        for left_tree in trees(left):
            for right_tree in trees(right):
                yield left_tree, right_tree


def text(tree: Tree) -> str:
    """Writes a tree as people do.

    Example:
        >>> text((("C1", "A1"), ("A2", "C2")))
        '(C1 A1)(A2 C2)'
    """
    if isinstance(tree, str):
        return tree[:2] if tree[0] == "K" else tree
    parts = [text(part) for part in tree]
    grouped = [
        f"({part})" if isinstance(child, tuple) else part
        for part, child in zip(parts, tree, strict=True)
    ]
    spaced = isinstance(tree[0], str) or isinstance(tree[1], str)
    return (" " if spaced else "").join(grouped)


def members(tree: Tree) -> frozenset[str]:
    """Returns the roles in a tree."""
    if isinstance(tree, str):
        return frozenset((tree,))
    return members(tree[0]) | members(tree[1])


_JACOBIANS = (frozenset(("C1", "A1")), frozenset(("C2", "A2")))

# What a partial product is, in the field's words; any other is a partial product.
_PRODUCT_NAMES = {
    _JACOBIANS[0]: "jacobian1",
    _JACOBIANS[1]: "jacobian2",
    frozenset(("A1", "A2")): "gram",
    frozenset(("C1", "C2")): "cotangent_gram",
    frozenset(("C1",)): "pulled1",
    frozenset(("C2",)): "pulled2",
    frozenset(("A1",)): "scaled1",
    frozenset(("A2",)): "scaled2",
}


def core(roles: Iterable[str]) -> frozenset[str]:
    """Returns the roles of cotangents and activations among others."""
    return frozenset(role for role in roles if not role.startswith("K"))


def product_name(roles: frozenset[str]) -> str:
    """Names a partial product after what it is, and the factors that it has."""
    inner = core(roles)
    spelled = "product_" + "".join(sorted(inner)).lower()
    name = _PRODUCT_NAMES.get(inner, spelled)
    factors = "k" * len(roles - inner)
    return f"{name}_{factors}" if factors and len(inner) > 1 else name + factors[1:]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lowered:
    """Statements that compute a tree, and the array that holds the result."""

    statements: tuple[Statement, ...]
    result: Array


def lower(
    tree: Tree,
    arrays: Mapping[str, Array],
    kept: Sequence[str],
    sizes: Mapping[str, Size],
    suffix: str = "",
) -> Lowered:
    """Turns a tree into statements; labels that nothing else needs are summed early.

    Args:
        tree: The order of contraction.
        arrays: The array of each role in the tree.
        kept: Labels that the result keeps.
        sizes: Length of every label.
        suffix: Appended to the names of intermediates.

    Returns:
        The statements. The axes of an intermediate stand in the order in which a matrix
        product leaves them or, where that is none, the next one reads them; those of a
        result in the order of `kept`, unless it is looked up.
    """
    statements: list[Statement] = []

    def needed_outside(inside: frozenset[str]) -> set[str]:
        labels = set(kept)
        for role, array in arrays.items():
            if role not in inside:
                labels.update(array.labels)
        return labels

    def visit(node: Tree) -> Array:
        wanted = needed_outside(members(node))
        if isinstance(node, str):
            return _reduced(arrays[node], wanted, node + suffix, statements)
        left, right = visit(node[0]), visit(node[1])
        name = product_name(members(node)) + suffix
        if left.hot is not None or right.hot is not None:
            made = look_up(left, right, wanted, sizes, name)
            statements.append(made)
            return _reduced(made.target, wanted, f"of_{name}", statements)
        left, right = (
            _in_reach(left, node[0], right, wanted, statements),
            _in_reach(right, node[1], left, wanted, statements),
        )
        labels = tuple(kept) if node is tree else _product_labels(left, right, wanted)
        target = Array(name=name, labels=labels)
        if set(right.labels) < set(left.labels) and set(right.labels) - set(labels):
            # A batch of vectors times matrices: XLA's CPU backend takes up to three
            # times as long where the vectors are the right operand.
            left, right = right, left
        is_jacobian = core(members(node)) in _JACOBIANS
        statements.append(
            Contract(target=target, left=left, right=right, is_jacobian=is_jacobian)
        )
        return target

    result = visit(tree)
    return Lowered(statements=tuple(statements), result=result)


def _product_labels(left: Array, right: Array, wanted: set[str]) -> tuple[str, ...]:
    """Orders a product's axes as a device leaves them, so that nothing is transposed.

    A matrix product leaves the shared axes, the left operand's, the right one's; an
    entrywise product those of its larger operand first.
    """
    shared = [label for label in left.labels if label in right.labels]
    if all(label in wanted for label in shared):
        first, second = (left, right)
        if len(right.labels) > len(left.labels):
            first, second = (right, left)
        rest = (label for label in second.labels if label not in first.labels)
        return (*first.labels, *rest)
    return (
        *(label for label in shared if label in wanted),
        *(label for label in left.labels if label not in right.labels),
        *(label for label in right.labels if label not in left.labels),
    )


def _in_reach(
    array: Array,
    tree: Tree,
    other: Array,
    wanted: set[str],
    statements: list[Statement],
) -> Array:
    """Makes an intermediate in an order that the product that reads it can use.

    Where that product's batch lies inside of the intermediate, it is copied. XLA's CPU
    backend is slow where such a copy brings an outer axis to the inside: two to six
    times the time of both products. So the operand that brings the reader's batch is
    the left one, whose axes a matrix product leaves further out. Grams stay as they
    are: other leaves may read them too.

    Args:
        array: The intermediate.
        tree: What it is a product of.
        other: The other operand of the product that reads it.
        wanted: Labels that are needed after that product.
        statements: Those so far; the one that makes the intermediate is replaced.
    """
    kinds = {role[0] for role in members(tree)}
    place = next(
        (at for at, item in enumerate(statements) if item.target is array), None
    )
    made = None if place is None else statements[place]
    if len(kinds) == 1 or place is None or not isinstance(made, Contract):
        return array
    common = [label for label in array.labels if label in other.labels]
    batch = [label for label in common if label in wanted]
    summed = [label for label in common if label not in wanted]
    free = [label for label in array.labels if label not in other.labels]
    if not summed or _is_matrix(array.labels, batch, free, summed):
        return array
    left, right = made.left, made.right
    if (set(left.labels) & set(right.labels)) <= set(array.labels):
        # An entrywise product is written in any order at once.
        labels = (*batch, *free, *summed)
    else:
        labels = _product_labels(left, right, set(array.labels))
        turned = _product_labels(right, left, set(array.labels))
        if _depth(batch, turned) < _depth(batch, labels):
            left, right, labels = right, left, turned
    target = dataclasses.replace(array, labels=labels)
    statements[place] = dataclasses.replace(made, target=target, left=left, right=right)
    return target


def _depth(batch: Sequence[str], labels: Sequence[str]) -> int:
    """Says how far inside of an array the axes of a batch lie."""
    return sum(labels.index(label) for label in batch)


def _reduced(
    array: Array, wanted: set[str], name: str, statements: list[Statement]
) -> Array:
    """Sums over labels that no other array and no result has."""
    labels = tuple(label for label in array.labels if label in wanted)
    if labels == array.labels or array.hot is not None:
        return array
    target = Array(name=f"sum_{name.lower()}", labels=labels)
    statements.append(Reduce(target=target, source=array))
    return target


def contract_operations(
    statement: Contract, sizes: Mapping[str, Size], itemsize: int
) -> tuple[Operation, ...]:
    """Counts one pairwise product, transposes of its operands included."""
    left, right, target = statement.left, statement.right, statement.target
    batch = [x for x in left.labels if x in right.labels and x in target.labels]
    summed = [x for x in left.labels if x in right.labels and x not in target.labels]
    rows = [x for x in left.labels if x not in right.labels]
    columns = [x for x in right.labels if x not in left.labels]

    def count(labels: Sequence[str], times: int = 1) -> Size:
        return product(times, *(sizes[label] for label in labels))

    n_target = count(target.labels)
    read = total(count(left.labels, itemsize), count(right.labels, itemsize))
    if not summed:
        return (
            Operation(
                kind=OperationKind.ELEMENTWISE,
                flops=n_target,
                bytes_read=read,
                bytes_written_fresh=product(itemsize, n_target),
            ),
        )
    operations = [
        Operation(
            kind=OperationKind.TRANSPOSE,
            bytes_read=count(array.labels, itemsize),
            bytes_written_fresh=count(array.labels, itemsize),
        )
        for array, free in ((left, rows), (right, columns))
        if not _is_matrix(array.labels, batch, free, summed)
    ]
    operations.append(
        Operation(
            kind=OperationKind.BATCHED_DOT if batch else OperationKind.DOT,
            batch=count(batch),
            m=count(rows),
            n=count(columns),
            k=count(summed),
            transposed=list(left.labels) == [*batch, *summed, *rows],
            entrywise=bool(batch)
            and statement.is_jacobian
            and statement.spread is not None,
            flops=count([*batch, *rows, *columns, *summed], 2),
            bytes_read=read,
            bytes_written_fresh=product(itemsize, n_target),
        )
    )
    if list(target.labels) != [*batch, *rows, *columns]:
        operations.append(
            Operation(
                kind=OperationKind.TRANSPOSE,
                bytes_read=product(itemsize, n_target),
                bytes_written_fresh=product(itemsize, n_target),
            )
        )
    return tuple(operations)


def _is_matrix(
    labels: Sequence[str],
    batch: Sequence[str],
    free: Sequence[str],
    summed: Sequence[str],
) -> bool:
    """Says whether an array is a batch of matrices as it lies in memory."""
    return list(labels) in (
        [*batch, *free, *summed],
        [*batch, *summed, *free],
    )


def reduce_operation(
    statement: Reduce, sizes: Mapping[str, Size], itemsize: int
) -> Operation:
    """Counts one sum over axes."""
    source, target = statement.source.labels, statement.target.labels
    n_source = product(*(sizes[label] for label in source))
    n_target = product(*(sizes[label] for label in target))
    first = next(i for i, label in enumerate(source) if label not in target)
    minor = source[-1] not in target
    kind = OperationKind.REDUCTION_MINOR if minor else OperationKind.REDUCTION_MAJOR
    return Operation(
        kind=kind,
        m=product(*(sizes[label] for label in source[:first])),
        n=product(*(sizes[label] for label in source[first:] if label in target)),
        k=product(*(sizes[label] for label in source if label not in target)),
        flops=n_source,
        bytes_read=product(itemsize, n_source),
        bytes_written_fresh=product(itemsize, n_target),
    )
