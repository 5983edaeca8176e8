"""Batches of 13 examples, and functions of them as the checks see them."""

import jax
import numpy as np
from jax import lax

from ntkplan.trace.examples import check_examples, follow_examples, probe_independence
from ntkplan.trace.jaxpr import flatten

N = 13


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def tokens(*shape, vocabulary=7):
    return np.random.default_rng(1).integers(0, vocabulary, shape).astype(np.int32)


class Traced:
    """A function of params and data, flattened, with the arrays it was traced on."""

    def __init__(self, function, params, data, batch_axis=0):
        params_leaves, params_tree = jax.tree_util.tree_flatten(params)
        data_leaves, data_tree = jax.tree_util.tree_flatten(data)
        n_params = len(params_leaves)

        def flat(*leaves):
            return jax.tree_util.tree_leaves(
                function(
                    params_tree.unflatten(leaves[:n_params]),
                    data_tree.unflatten(leaves[n_params:]),
                )
            )

        self.flat = flat
        self.arguments = [*params_leaves, *data_leaves]
        self.where = {
            "data_inputs": tuple(range(n_params, n_params + len(data_leaves))),
            "batch_axis": batch_axis,
        }
        self.body = flatten(jax.make_jaxpr(flat)(*self.arguments))

    def verdict(self):
        return follow_examples(self.body, n_examples=N, **self.where)

    def probe(self):
        return probe_independence(jax.jit(self.flat), self.arguments, **self.where)

    def check(self, *, arrays):
        given = {"function": self.flat, "arguments": self.arguments} if arrays else {}
        return check_examples(self.body, n_examples=N, **self.where, **given)


def of_data(function, *data):
    return Traced(lambda _, xs: function(*xs), (), data)


def many(examples):
    """Returns 13 examples, the given ones again and again, each a little different."""

    def repeated(leaf):
        cycled = np.resize(leaf, (N, *leaf.shape[1:]))
        if not np.issubdtype(leaf.dtype, np.floating):
            return cycled
        return cycled + 0.1 * normal(*cycled.shape)

    return jax.tree.map(repeated, examples)


X = normal(N, 6)
SEQUENCE = normal(N, 5, 4)
IMAGE = normal(N, 8, 8, 3)
SQUARE = normal(N, 4, 4)
TOKENS = tokens(N, 5)
TABLE = normal(7, 3)
WEIGHT = normal(6, 6)
FILTER = normal(3, 3, 3, 2)


def convolve(image, weight, **options):
    return lax.conv_general_dilated(
        image,
        weight,
        options.pop("strides", (1, 1)),
        options.pop("padding", "SAME"),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        **options,
    )


def convolve_one(image, weight):
    return convolve(image[None], weight)[0]
