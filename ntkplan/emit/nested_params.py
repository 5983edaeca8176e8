"""Parameters whose leaves no text reads, in dictionaries that the module makes of them.

The state of Flax NNX is such a tree: what its variables hold is read by the attribute
that JAX names with a warning, or, by older versions, behind every other key. The
dictionaries have the keys of the tree.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax

from ntkplan.ir.graph import KernelGraph, Leaf
from ntkplan.trace.leaves import tree_inputs

NEST = "params = nested(params)"
"""The line behind which a function reads leaves by their places."""

HELPER = '''
def nested(params):
    """Parameters in dictionaries, by their places; a last `.value` is left out."""
    tree = {}
    for keys, array in jax.tree_util.tree_leaves_with_path(params):
        if len(keys) > 1 and getattr(keys[-1], "name", "") == "value":
            keys = keys[:-1]
        *outer, last = [
            getattr(key, kind)
            for key in keys
            for kind in ("key", "idx", "name")
            if hasattr(key, kind)
        ] or [""]
        node = tree
        for key in outer:
            node = node.setdefault(key, {})
        node[last] = array
    return tree
'''

Place = tuple[str | int, ...]


def nested_places(tree: Any) -> tuple[Place, ...] | None:
    """Returns where `nested` puts the leaves of a tree, in the order of `jax.tree`.

    Args:
        tree: Arrays or `jax.ShapeDtypeStruct`s.

    Returns:
        The keys on the way to each leaf; None where the leaves are read from the tree
        itself, or where dictionaries cannot hold them all by such keys.

    Example:
        >>> nested_places({"a": [1.0, 2.0]}) is None
        True
        >>> @jax.tree_util.register_pytree_node_class
        ... class Pair(list):
        ...     tree_flatten = lambda self: (tuple(self), None)
        ...     tree_unflatten = classmethod(lambda cls, _, leaves: cls(leaves))
        >>> nested_places({"a": Pair([1.0, 2.0])})
        (('a', 0), ('a', 1))
    """
    if not _is_nested(tree):
        return None
    namespace: dict[str, Any] = {"jax": jax}
    exec(HELPER, namespace)
    structure = jax.tree.structure(tree)
    numbers = range(structure.num_leaves)
    try:
        made = namespace["nested"](structure.unflatten(numbers))
        keyed = jax.tree_util.tree_leaves_with_path(made)
    except (AttributeError, TypeError, ValueError):
        return None
    places = {number: tuple(key.key for key in keys) for keys, number in keyed}
    if set(places) != set(numbers) or not all(map(_is_written, places.values())):
        return None
    return tuple(places[number] for number in numbers)


def _is_nested(tree: Any) -> bool:
    """Says whether some leaf has no text, or all are what variables hold."""
    texts = [item.access for item in tree_inputs(tree)]
    return None in texts or all(str(text).endswith("].value") for text in texts)


def _is_written(place: Sequence[Any]) -> bool:
    """Says whether keys are what text stands for."""
    return all(type(key) in (str, int) for key in place)


def with_places(graph: KernelGraph, params: Any) -> KernelGraph:
    """Returns a model whose leaves have the paths and texts that its module reads.

    Args:
        graph: The model.
        params: Tree of the leaves.
    """
    places = nested_places(params)
    if places is None:
        return graph
    leaves = zip(graph.leaves, places, strict=True)
    return dataclasses.replace(graph, leaves=tuple(_placed(*item) for item in leaves))


def _placed(leaf: Leaf, place: Place) -> Leaf:
    access = "".join(f"[{_quoted(key)}]" for key in place)
    return dataclasses.replace(leaf, path="/".join(map(str, place)), access=access)


def _quoted(key: str | int) -> str:
    text = repr(key)
    return text if '"' in text else text.replace("'", '"')
