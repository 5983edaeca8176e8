"""What `empirical_ntk_fn` is compared with neural_tangents on: models and arguments.

Nothing here needs ntkplan or a newer JAX than neural_tangents runs on, and nothing is
drawn at random: the script that computes the reference kernels reads this same file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def waves(*shape: int, phase: float = 0.0) -> np.ndarray:
    """Returns numbers that look irregular and are the same everywhere."""
    count = int(np.prod(shape))
    return np.sin(phase + 1.7 * np.arange(count) ** 1.1).reshape(shape)


@dataclasses.dataclass(frozen=True)
class Case:
    """One call of the function that `empirical_ntk_fn` returns.

    Attributes:
        f: The model.
        params: Its parameters.
        x1: Examples.
        x2: Other examples, or None.
        axes: Trace axes and diagonal axes.
        vmap_axes: As neural_tangents knows it.
        keywords: Keyword arguments of the model.
    """

    f: Callable[..., Any]
    params: Any
    x1: Any
    x2: Any = None
    axes: tuple[tuple[int, ...], tuple[int, ...]] = ((-1,), ())
    vmap_axes: Any = None
    keywords: dict[str, Any] = dataclasses.field(default_factory=dict)


def perceptron(params, x):
    return jnp.tanh(x @ params["w"] + params["b"]) @ params["v"]


PERCEPTRON = {"w": waves(3, 5), "b": waves(5, phase=1), "v": waves(5, 2, phase=2)}


def examples_last(params, x):
    """Takes `[d, n]`, returns `[p, n, o]`."""
    hidden = jnp.tanh(jnp.einsum("dn,dph->pnh", x, params["w"]))
    return hidden @ params["v"]


EXAMPLES_LAST = {"w": waves(3, 2, 4), "v": waves(4, 3, phase=2)}


def two_towers(params, x):
    """Takes `(a, {"b"})` with `b` transposed; returns two outputs, one transposed."""
    left, right = x
    hidden = jnp.tanh(left @ params["left"] + right["b"].T @ params["right"])
    return {"head": hidden @ params["head"], "hidden": jnp.moveaxis(hidden, 0, 1)}


TWO_TOWERS = {
    "left": waves(3, 4),
    "right": waves(2, 4, phase=1),
    "head": waves(4, 3, phase=2),
}
TOWER_AXES = ((0, {"b": 1}), {"head": 0, "hidden": 1})


def towers(n: int, phase: float = 0.0) -> Any:
    """Returns inputs of `two_towers`."""
    return (waves(n, 3, phase=phase), {"b": waves(2, n, phase=phase + 1)})


def masked(params, x, pattern, scale=1.0):
    """Takes a mask for every example, and one factor for all of them."""
    return scale * jnp.tanh((x * pattern) @ params["w"]) @ params["v"]


MASKED = {"w": waves(3, 4), "v": waves(4, 2, phase=2)}


def normalised(params, x, shift=0.0):
    """Is in training mode: every output depends on every example."""
    hidden = x @ params["w"] + shift
    hidden = (hidden - hidden.mean(axis=0)) / jnp.sqrt(hidden.var(axis=0) + 0.1)
    return jnp.tanh(hidden * params["g"]) @ params["v"]


NORMALISED = {"w": waves(3, 4), "g": waves(4, phase=1), "v": waves(4, 2, phase=2)}


def keyed(params, x, rng):
    """Depends on the bits of a random key, but on no generator: those change."""
    bits = (rng[-1] % 97).astype(x.dtype) / 97
    return jnp.tanh(x @ params["w"] + bits) @ params["v"]


def energy(params, x):
    """Returns one number for the whole batch."""
    return jnp.sum(jnp.tanh(x @ params["w"]) ** 2 * params["b"])


def attention(params, x):
    """Takes sequences of any length, returns `[n, s, o]`."""
    weights = jax.nn.softmax(jnp.einsum("nsd,de,nte->nst", x, params["w"], x), axis=-1)
    return jnp.einsum("nst,ntd->nsd", weights, x) @ params["v"]


ATTENTION = {"w": waves(3, 3) / 2, "v": waves(3, 2, phase=2)}

_X1, _X2 = waves(4, 3, phase=3), waves(2, 3, phase=4)
_P1, _P2 = waves(4, 3, phase=5), waves(2, 3, phase=6)
_KEYS = np.array([[0, 7], [3, 11]], np.uint32)


def _plain_cases() -> dict[str, Case]:
    """Axes of outputs and examples; batches as wholes."""
    plain = Case(perceptron, PERCEPTRON, _X1, _X2)
    moved = Case(examples_last, EXAMPLES_LAST, waves(3, 4, phase=3))
    other = waves(3, 2, phase=4)
    whole = Case(normalised, NORMALISED, _X1, _X2)
    long, short = waves(2, 5, 3, phase=3), waves(3, 4, 3, phase=4)

    def of(case: Case, **changes: Any) -> Case:
        return dataclasses.replace(case, **changes)

    return {
        "defaults": plain,
        "int_0": of(plain, vmap_axes=0),
        "full": of(plain, axes=((), ()), vmap_axes=0),
        "matched": of(plain, x2=-_X1, axes=((-1,), (0,)), vmap_axes=0),
        "matched_whole": of(plain, x2=-_X1, axes=((), (0,))),
        "trace_of_examples": of(plain, x2=-_X1, axes=((0,), (1,)), vmap_axes=0),
        "trace_of_everything": of(plain, x2=None, axes=((0, 1), ()), vmap_axes=0),
        "everything_whole": of(plain, x2=-_X1, axes=((0, -1), ())),
        "examples_last": of(moved, x2=other, axes=((), ()), vmap_axes=(-1, 1, {})),
        "examples_last_pair": of(moved, x2=other, axes=((2,), (0,)), vmap_axes=1),
        "examples_last_trace": of(
            moved, x2=other, axes=((-3,), ()), vmap_axes=(1, -2, {})
        ),
        "examples_last_matched": of(moved, axes=((0,), (1,)), vmap_axes=(1, -2, {})),
        "examples_last_mean": of(moved, axes=((1,), (2,)), vmap_axes=(1, 1, {})),
        "interacting": of(whole, axes=((), ())),
        "interacting_alike": of(whole, x2=_X1 + 0.3),
        "interacting_self": of(whole, x2=None, axes=((), (1,))),
        "interacting_matched": of(whole, x2=_X1 * 2, axes=((1,), (0,))),
        "one_number": Case(energy, PERCEPTRON, _X1, _X2, axes=((), ())),
        "lengths": Case(attention, ATTENTION, long, short),
        "lengths_full": Case(attention, ATTENTION, long, short, axes=((), (2,))),
    }


def _tree_and_keyword_cases() -> dict[str, Case]:
    """Trees of inputs and outputs; keyword arguments; random keys."""
    tree = Case(two_towers, TWO_TOWERS, towers(4), towers(3, phase=2.0))
    mask = Case(masked, MASKED, _X1, _X2, keywords={"pattern": (_P1, _P2)})
    drawn = Case(keyed, MASKED, _X1, _X2, keywords={"rng": _KEYS[0]})
    both = {"pattern": (_P1, _P2), "scale": (np.array(2.0), np.array(0.5))}
    whole = {"shift": (waves(4, 4), waves(2, 4, phase=1))}
    one = {"pattern": waves(4, 3, phase=5)}

    def of(case: Case, **changes: Any) -> Case:
        return dataclasses.replace(case, **changes)

    return {
        "tree": of(tree, axes=((), ()), vmap_axes=(*TOWER_AXES, {})),
        "tree_self": of(tree, x2=None, axes=((), (-1,)), vmap_axes=(*TOWER_AXES, {})),
        "tree_whole": of(tree, axes=((), ())),
        "pattern": of(mask, vmap_axes=(0, 0, {"pattern": 0})),
        "pattern_int": of(mask, axes=((), ()), vmap_axes=(0, 0, 0)),
        "pattern_whole": of(mask, axes=((), ())),
        "pattern_self": of(mask, x2=None, keywords=one, vmap_axes=(0, 0, 0)),
        "pattern_alone": of(
            mask, x1=_X1[0], x2=_X2[0], vmap_axes=(None, 0, {"pattern": 0})
        ),
        "factors": of(mask, keywords=both, vmap_axes=(0, 0, {"pattern": 0})),
        "factor_shared": of(
            mask,
            keywords={"pattern": (_P1, _P2), "scale": np.array(3.0)},
            vmap_axes=(0, 0, {"pattern": 0}),
        ),
        "shifted": Case(normalised, NORMALISED, _X1, _X2, keywords=whole),
        "key": of(drawn, vmap_axes=0),
        "key_of_same_inputs": of(drawn, x2=_X1.copy(), vmap_axes=0),
        "key_self": of(drawn, x2=None),
        "keys": of(drawn, keywords={"rng": (_KEYS[0], _KEYS[1])}),
        "keys_alike": of(drawn, keywords={"rng": (_KEYS[0], _KEYS[0])}, vmap_axes=0),
        "keys_of_same_inputs": of(
            drawn, x2=_X1.copy(), keywords={"rng": (_KEYS[0], _KEYS[1])}
        ),
    }


CASES = {**_plain_cases(), **_tree_and_keyword_cases()}

# Cases that the kernel-vector product is compared on.
PRODUCTS = ("defaults", "interacting", "one_number", "tree_whole", "factors", "keys")


def as_arrays(case: Case) -> Case:
    """Returns the case with JAX arrays, as neural_tangents insists on."""
    x1, x2, params, keywords = jax.tree_util.tree_map(
        jnp.asarray, (case.x1, case.x2, case.params, case.keywords)
    )
    return dataclasses.replace(case, x1=x1, x2=x2, params=params, keywords=keywords)


def cotangents_of(case: Case) -> Any:
    """Returns a vector for the kernel of a case, a tree like `f(params, x2)`."""
    keywords = {
        name: value[1] if isinstance(value, tuple) else value
        for name, value in case.keywords.items()
    }
    shapes = jax.eval_shape(
        lambda params: case.f(params, case.x2, **keywords), case.params
    )
    return jax.tree_util.tree_map(lambda spec: waves(*spec.shape, phase=9), shapes)
