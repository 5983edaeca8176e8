"""Parameters whose leaves no text reads, in dictionaries that the module makes of them.

The state of Flax NNX is such a tree: what its variables hold is read by the attribute
that JAX names with a warning, or, by older versions, behind every other key. The
dictionaries have the keys of the tree.

Haiku writes paths into keys, `encoder/layer_0/query`. Where some stand for layers that
are alike, dictionaries of dictionaries let one function read each of them.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ntkplan.emit.names import key_text
from ntkplan.ir.graph import KernelGraph, Leaf
from ntkplan.trace.leaves import tree_inputs

NEST = "params = nested(params)"
"""The line behind which a function reads leaves by their places."""

_OF_LEAVES = '''
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

_OF_KEYS = '''
def nested(params):
    """Parameters in dictionaries of dictionaries, as slashes in their keys say."""
    tree = {}
    for path, arrays in params.items():
        node = tree
        for key in path.split("/"):
            node = node.setdefault(key, {})
        node.update(arrays)
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
    text = helper(tree)
    if not text:
        return None
    namespace: dict[str, Any] = {"jax": jax}
    exec(text, namespace)
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


def helper(tree: Any) -> str:
    """Returns the text of the function that makes the dictionaries, if there are any.

    Args:
        tree: Arrays or `jax.ShapeDtypeStruct`s.
    """
    if _is_nested(tree):
        return _OF_LEAVES
    return _OF_KEYS if _has_layers_in_keys(tree) else ""


def _has_layers_in_keys(tree: Any) -> bool:
    """Says whether numbers in keys tell layers apart that have the same leaves."""
    if type(tree) is not dict or not all(
        type(key) is str and isinstance(value, Mapping) for key, value in tree.items()
    ):
        return False
    layers: dict[tuple[str, ...], set[Any]] = {}
    for path, arrays in tree.items():
        words = path.split("/")
        leaves = sorted((str(key), np.shape(array)) for key, array in arrays.items())
        for count, word in enumerate(words[:-1], 1):
            if re.search(r"\d", word):
                inner = ("/".join(words[count:]), tuple(leaves))
                layers.setdefault(tuple(words[:count]), set()).add(inner)
    alike: dict[Any, int] = {}
    for (*outer, word), inner in layers.items():
        kind = (*outer, re.sub(r"\d+", "#", word), frozenset(inner))
        alike[kind] = alike.get(kind, 0) + 1
    return max(alike.values(), default=0) > 1


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
    access = "".join(f"[{key_text(key)}]" for key in place)
    return dataclasses.replace(leaf, path="/".join(map(str, place)), access=access)
