"""The example axis is followed through whole batches; what is proven is also tested."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from ntkplan._jax import primitives
from ntkplan.errors import (
    InteractingExamplesError,
    InternalError,
    UndecidedIndependenceWarning,
)
from ntkplan.trace.axis_rules import elementwise
from ntkplan.trace.axis_rules.table import assemble, axis_rules
from ntkplan.trace.examples import (
    Independent,
    Mixing,
    Undecided,
    check_examples,
    follow_examples,
    probe_independence,
)
from ntkplan.trace.jaxpr import flatten
from tests.cases import CASES, problem

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


# ------------------------------------------------------------------ small functions

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


def merged_positions(x):
    positions = x.reshape(len(x) * 5, 4)
    return jnp.tanh(positions @ jnp.ones((4, 2))).reshape(len(x), 5, 2).sum(1)


def views_side_by_side(x):
    both = jnp.tanh(jnp.concatenate([x, -2 * x]) @ WEIGHT)
    first, second = jnp.split(both, 2)
    return first * second


def batched_solve(x):
    return jnp.linalg.solve(x @ x.swapaxes(1, 2) + 3 * jnp.eye(4), x)


def shift_by_global_largest(x):
    shifted = jnp.exp(x - jnp.max(x))
    return shifted / shifted.sum(-1, keepdims=True)


def loop_over_examples(x):
    return lax.map(lambda row: jnp.tanh(row @ WEIGHT), x)


def loop_over_merged_positions(x):
    rows = lax.map(lambda row: row / (1 + row.sum()), x.reshape(len(x) * 5, 4))
    return rows.reshape(len(x), 20)


def scan_over_time(x):
    def step(state, now):
        state = jnp.tanh(state + now)
        return state, state.sum(-1)

    last, sums = lax.scan(step, jnp.zeros((x.shape[0], 4)), jnp.swapaxes(x, 0, 1))
    return last, sums.T


def input_gradient(x):
    return jax.grad(lambda y: jnp.sum(jnp.tanh(y @ WEIGHT)))(x)


def newton_steps(x):
    return lax.while_loop(lambda row: row.sum() < 5.0, lambda row: row + 1.0, x)


INDEPENDENT = {
    "elementwise": (lambda x: jnp.where(x > 0, jnp.sin(x), x**3) + 1.0, X),
    "product with weights": (lambda x: jnp.tanh(x @ WEIGHT) + WEIGHT[0], X),
    "products per example": (lambda x: jnp.einsum("nsd,ntd->nst", x, x), SEQUENCE),
    "transposed and back": (lambda x: (WEIGHT @ x.T).T, X),
    "data on the right": (lambda x: jnp.einsum("ij,nj->ni", WEIGHT, x), X),
    "merged positions": (merged_positions, SEQUENCE),
    "merged, reduced elsewhere": (
        lambda x: x.transpose(1, 0, 2).reshape(5, len(x) * 4).sum(0).reshape(len(x), 4),
        SEQUENCE,
    ),
    "merged from the front": (
        lambda x: (
            x.transpose(1, 0, 2)
            .reshape(5 * len(x), 4)[:, :2]
            .reshape(5, len(x), 2)
            .sum(0)
        ),
        SEQUENCE,
    ),
    "flattened and back": (lambda x: x.ravel().reshape(len(x), 2, 10).sum(1), SEQUENCE),
    "unit axes": (lambda x: jnp.expand_dims(x, (0, 2)).squeeze(0)[:, 0], X),
    "means over other axes": (lambda x: x - x.mean((1, 2), keepdims=True), SEQUENCE),
    "softmax": (jax.nn.softmax, X),
    "logsumexp": (lambda x: jax.nn.logsumexp(x, axis=1), SEQUENCE),
    "argmax and take along": (
        lambda x: jnp.take_along_axis(x, jnp.argmax(x, 1, keepdims=True), 1)[:, 0],
        SEQUENCE,
    ),
    "cumulative over time": (lambda x: jnp.cumsum(jnp.cumprod(x, 1), 2), SEQUENCE),
    "associative scan over time": (
        lambda x: lax.associative_scan(jnp.add, x, axis=1),
        SEQUENCE,
    ),
    "sort features": (lambda x: jnp.sort(x, 1) + jnp.argsort(x, 1), X),
    "median of features": (lambda x: jnp.median(x, 1), X),
    "top k": (lambda x: lax.top_k(x, 2)[0], X),
    "slices and concatenation": (
        lambda x: jnp.concatenate([x[:, 1:], x[:, :1]], 1)[:, ::2],
        X,
    ),
    "last position": (lambda x: x[:, -1], SEQUENCE),
    "features in reverse order": (lambda x: x[:, ::-1], X),
    "rolled features": (lambda x: jnp.roll(x, 1, axis=1), X),
    "tiled features": (lambda x: jnp.tile(x, (1, 3)), X),
    "stacked and taken apart": (
        lambda x: jnp.stack([x, -x], 1).sum(1) + jnp.split(x, 2, 1)[0].sum(1)[:, None],
        X,
    ),
    "padding": (lambda x: jnp.pad(x, ((0, 0), (1, 2), (0, 0))), SEQUENCE),
    "views side by side": (views_side_by_side, X),
    "embedding": (lambda t: jnp.asarray(TABLE)[t], TOKENS),
    "one hot": (lambda t: jax.nn.one_hot(t, 7) @ TABLE, TOKENS),
    "learned positions": (
        lambda x: x + jnp.asarray(TABLE)[jnp.arange(5) % 7][:, :1],
        SEQUENCE,
    ),
    "positions of every example": (
        lambda x: (
            x
            + jnp.asarray(TABLE)[jnp.broadcast_to(jnp.arange(5), (len(x), 5))].sum(
                -1, keepdims=True
            )
        ),
        SEQUENCE,
    ),
    "fixed positions": (lambda x: x[:, jnp.array([0, 2])], SEQUENCE),
    "write a position": (lambda x: x.at[:, 0].set(1.0), SEQUENCE),
    "vmapped index": (
        lambda x: jax.vmap(lambda row: row[jnp.argmax(row[:, 0])])(x),
        SEQUENCE,
    ),
    "vmapped dynamic slice": (
        lambda x: jax.vmap(
            lambda row: lax.dynamic_slice(row, (jnp.argmax(row[:, 0]), 0), (2, 4))
        )(x),
        SEQUENCE,
    ),
    "vmapped scatter": (
        lambda x: jax.vmap(lambda row: row.at[jnp.argmax(row[:, 0])].add(1.0))(x),
        SEQUENCE,
    ),
    "vmapped segment sum": (
        lambda x: jax.vmap(
            lambda row: jax.ops.segment_sum(row, (row[:, 0] > 0).astype(int), 2)
        )(x),
        SEQUENCE,
    ),
    "dynamic slice of features": (
        lambda x: lax.dynamic_slice(x, (0, 1, 0), (len(x), 2, 4)),
        SEQUENCE,
    ),
    "dynamic update of features": (
        lambda x: lax.dynamic_update_slice(x, jnp.zeros((len(x), 1, 4)), (0, 1, 0)),
        SEQUENCE,
    ),
    "convolution": (lambda x: convolve(x, FILTER), IMAGE),
    "max pooling": (
        lambda x: lax.reduce_window(
            x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"
        ),
        IMAGE,
    ),
    "average pooling": (
        lambda x: lax.reduce_window(
            x, 0.0, lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"
        ),
        IMAGE,
    ),
    "vmapped convolution": (
        lambda x: jax.vmap(lambda image: convolve_one(image, FILTER))(x),
        IMAGE,
    ),
    "convolution with a filter of each example": (
        lambda x: jax.vmap(
            lambda image: convolve_one(image, FILTER * image.mean((0, 1)).sum())
        )(x),
        IMAGE,
    ),
    "vmapped grouped convolution": (
        lambda x: jax.vmap(
            lambda image: convolve(
                image[None], FILTER[:, :, :1] * image[0, 0, 0], feature_group_count=1
            )[0]
        )(x[..., :1]),
        IMAGE,
    ),
    "vmapped batch groups": (
        lambda x: jax.vmap(
            lambda image: convolve(
                jnp.stack([image, -image]), FILTER * image.sum(), batch_group_count=2
            )[0]
        )(x),
        IMAGE,
    ),
    "vmapped batch groups of one filter": (
        lambda x: jax.vmap(
            lambda image: convolve(
                jnp.stack([image, -image]), FILTER, batch_group_count=2
            )[0]
        )(x),
        IMAGE,
    ),
    "examples side by side, non-overlapping windows": (
        lambda x: lax.conv_general_dilated(
            x.reshape(1, len(x) * 6, 1),
            normal(3, 1, 2),
            (3,),
            "VALID",
            dimension_numbers=("NWC", "WIO", "NWC"),
        ).reshape(len(x), 4),
        X,
    ),
    "linear solve": (batched_solve, SQUARE),
    "inverse and determinant": (
        lambda x: jnp.linalg.inv(x + 5 * jnp.eye(4)) * jnp.linalg.det(x)[:, None, None],
        SQUARE,
    ),
    "decompositions": (
        lambda x: (
            jnp.linalg.cholesky(x @ x.swapaxes(1, 2) + jnp.eye(4)).sum(-1)
            + jnp.linalg.eigvalsh(x + x.swapaxes(1, 2))
            + jnp.linalg.svd(x, compute_uv=False)
            + jnp.abs(jnp.linalg.qr(x)[1]).sum(-1)
        ),
        SQUARE,
    ),
    "right sides of one solve": (
        lambda x: (
            lax.linalg.triangular_solve(WEIGHT, x.T, left_side=True, lower=True).T
            + lax.linalg.triangular_solve(WEIGHT, x, left_side=False, lower=True)
            + jnp.linalg.solve(WEIGHT, x.T).T
            + jax.vmap(lambda row: jnp.linalg.solve(WEIGHT, row))(x)
        ),
        X,
    ),
    "tridiagonal solve": (
        lambda x: (
            lax.linalg.tridiagonal_solve(
                jnp.ones(6), jnp.full(6, 4.0), jnp.ones(6), x.T
            ).T
        ),
        X,
    ),
    "Fourier transform": (lambda x: jnp.abs(jnp.fft.fft2(x)), SEQUENCE),
    "custom derivatives": (lambda x: jax.nn.relu(x) + jax.nn.softplus(x), X),
    "checkpoint": (jax.checkpoint(lambda x: jnp.sin(jnp.sin(x))), X),
    "branches": (
        lambda x: lax.switch(WEIGHT.astype(int)[0, 0], [jnp.sin, jnp.cos], x),
        X,
    ),
    "vmapped branches": (
        lambda x: jax.vmap(lambda r: lax.cond(r.sum() > 0, jnp.sin, jnp.cos, r))(x),
        X,
    ),
    "scan over time": (scan_over_time, SEQUENCE),
    "vmapped scan over time": (
        lambda x: jax.vmap(
            lambda row: lax.scan(lambda c, r: (c + r, c * r), row[0], row)
        )(x),
        SEQUENCE,
    ),
    "loop over examples": (loop_over_examples, X),
    "loop over merged positions": (loop_over_merged_positions, SEQUENCE),
    "vmapped while": (lambda x: jax.vmap(newton_steps)(jnp.abs(x)), X),
    "static loop": (lambda x: lax.fori_loop(0, 3, lambda _, y: jnp.sin(y), x), X),
    "gradient by the input": (input_gradient, X),
    "gradient of pooling by the input": (
        lambda x: jax.grad(
            lambda y: jnp.sum(
                lax.reduce_window(
                    y, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"
                )
            )
        )(x),
        IMAGE,
    ),
    "unused statistics": (lambda x: (x.mean(0), x * 2)[1], X),
    "built-in attention": (
        lambda x: jax.nn.dot_product_attention(*[x[:, :, None]] * 3)[:, :, 0],
        SEQUENCE,
    ),
    "constant start": (lambda x: x + np.zeros((len(x), 6), np.float32), X),
    "batch normalisation by frozen statistics": (
        lambda x: (x - WEIGHT[0]) * lax.rsqrt(jnp.square(WEIGHT[1]) + 1e-5),
        X,
    ),
}


@pytest.mark.parametrize("name", INDEPENDENT)
def test_independent_examples_are_proven_so(name):
    function, *data = INDEPENDENT[name]
    traced = of_data(function, *data)
    verdict = traced.verdict()
    assert isinstance(verdict, Independent), (verdict.equation.primitive, verdict.why)
    assert set(verdict.output_axes) == {0}
    assert verdict.merged_outputs == ()
    assert traced.probe()


def attention_across_the_batch(x):
    scores = jax.nn.softmax(x @ x.T, axis=-1)
    return scores @ x


def distances(x):
    return jnp.square(x[:, None] - x[None, :]).sum(-1)


@jax.custom_jvp
def centred_by_itself(x):
    return x - x.mean(0)


centred_by_itself.defjvps(lambda tangent, primal_out, x: tangent)


@jax.custom_vjp
def centred_backwards(x):
    return x - x.mean(0)


centred_backwards.defvjp(
    lambda x: (centred_backwards(x), None), lambda _, cotangent: (cotangent,)
)


MIXING = {
    "centred": (lambda x: x - x.mean(0), X, "reduce_sum"),
    "mean of everything": (lambda x: x - x.mean(), X, "reduce_sum"),
    "contracted with weights": (
        lambda x: x + jnp.ones(len(x)) @ x,
        X,
        "dot_general",
    ),
    "gram matrix": (lambda x: x @ x.T, X, "dot_general"),
    "pairwise distances": (distances, X, "sub"),
    "attention across the batch": (attention_across_the_batch, X, "reduce_sum"),
    "softmax over the batch": (lambda x: jax.nn.softmax(x, 0), X, "reduce_sum"),
    "cumulative over the batch": (lambda x: jnp.cumsum(x, 0), X, "cumsum"),
    "largest so far": (lambda x: lax.cummax(x), X, "cummax"),
    "sorted batch": (lambda x: jnp.sort(x, 0), X, "sort"),
    "pooled over the batch": (
        lambda x: lax.reduce_window(x, 0.0, lax.add, (2, 1), (1, 1), "SAME"),
        X,
        "reduce_window_sum",
    ),
    "convolved over the batch": (
        lambda x: lax.conv_general_dilated(
            x[None],
            normal(3, 6, 6),
            (1,),
            "SAME",
            dimension_numbers=("NWC", "WIO", "NWC"),
        )[0],
        X,
        "conv_general_dilated",
    ),
    "batch as channels": (
        lambda x: convolve(
            jnp.moveaxis(x, 0, -1)[None, ..., 0, :], normal(3, 3, len(x), len(x))
        )[0].transpose(2, 0, 1),
        IMAGE,
        "conv_general_dilated",
    ),
    "merged, then reduced": (
        lambda x: x + x.reshape(len(x) * 5, 4).sum(0),
        SEQUENCE,
        "reduce_sum",
    ),
    "transformed over the batch": (lambda x: jnp.abs(jnp.fft.fft(x.T).T), X, "fft"),
    "orthogonalised across the batch": (lambda x: jnp.linalg.qr(x)[0], X, "qr"),
    "solved across the batch": (
        lambda x: lax.linalg.triangular_solve(
            jnp.eye(len(x)) * 2 + jnp.tri(len(x)), x, left_side=True, lower=True
        ),
        X,
        "triangular_solve",
    ),
    "mean in a branch": (
        lambda x: lax.cond(WEIGHT[0, 0] > 0, lambda y: y - y.mean(0), jnp.sin, x),
        X,
        "reduce_sum",
    ),
    "mean in a scan": (
        lambda x: lax.scan(lambda c, _: (c - c.mean(0), None), x, None, length=3)[0],
        X,
        "reduce_sum",
    ),
    "mean inside a custom derivative": (centred_by_itself, X, "reduce_sum"),
    "mean inside a custom cotangent": (centred_backwards, X, "reduce_sum"),
    "mean under checkpoint": (jax.checkpoint(lambda x: x - x.mean(0)), X, "reduce_sum"),
}


@pytest.mark.parametrize("name", MIXING)
def test_mixing_is_proven_and_named(name):
    function, data, primitive = MIXING[name]
    traced = of_data(function, data)
    verdict = traced.verdict()
    assert isinstance(verdict, Mixing), verdict
    assert verdict.equation.primitive.name == primitive
    assert not traced.probe()


UNDECIDED = {
    "regression on the batch": (
        lambda x: jnp.linalg.cholesky(x @ x.T + jnp.eye(len(x))),
        X,
        False,
    ),
    "rolled there and back": (lambda x: jnp.roll(jnp.roll(x, 1, 0), -1, 0), X, True),
    "reversed twice": (lambda x: jnp.tanh(x[::-1])[::-1], X, True),
    "reversed once": (lambda x: x[::-1], X, False),
    "rolled once": (lambda x: x + jnp.roll(x, 1, 0), X, False),
    "halves": (
        lambda x: jnp.concatenate(
            [jnp.sin(x[: len(x) // 2]), jnp.sin(x[len(x) // 2 :])]
        ),
        X,
        True,
    ),
    "the first example": (lambda x: x - x[:1], X, False),
    "sorted and put back": (
        lambda x: jnp.take_along_axis(
            jnp.take_along_axis(x, jnp.argsort(x, 0), 0),
            jnp.argsort(jnp.argsort(x, 0), 0),
            0,
        ),
        X,
        True,
    ),
    "picked by its own number": (
        lambda t: jax.nn.one_hot(t, 7)[jnp.arange(len(t)), 1],
        TOKENS,
        True,
    ),
    "shifted by the largest of all": (shift_by_global_largest, X, True),
    "divided by the largest of all": (lambda x: x / jnp.max(jnp.abs(x)), X, False),
    "guarded": (
        lambda x: jnp.where(jnp.all(jnp.isfinite(x)), jnp.sin(x), jnp.nan),
        X,
        True,
    ),
    "in groups": (
        lambda x: lax.map(lambda row: jnp.tanh(row @ WEIGHT), x, batch_size=4),
        X,
        True,
    ),
    "a buffer filled example by example": (
        lambda x: lax.fori_loop(
            0,
            len(x),
            lambda i, out: out.at[i].set(jnp.sin(x[i])),
            jnp.zeros_like(x),
        ),
        X,
        True,
    ),
    "a carry over the examples": (
        lambda x: lax.scan(lambda c, row: (c + row, row + c), jnp.zeros(6), x)[1],
        X,
        False,
    ),
    "a stranger's primitive": (
        lambda x: jax.pure_callback(
            np.sin, jax.ShapeDtypeStruct(x.shape, x.dtype), x, vmap_method="sequential"
        ),
        X,
        True,
    ),
    "noise of the place": (
        lambda x: x * jax.random.bernoulli(jax.random.key(0), 0.5, x.shape),
        X,
        False,
    ),
    "number of the example": (lambda x: x + jnp.arange(len(x))[:, None], X, False),
    "number of the example in a loop": (
        lambda x: lax.map(lambda both: both[0] * both[1], (x, jnp.arange(len(x)))),
        X,
        False,
    ),
    "the first example set": (lambda x: x.at[0].set(0.0), X, False),
    "diagonal of all pairs": (lambda x: jnp.diagonal(x @ x.T), X, True),
    "loop until all are done": (
        lambda x: lax.while_loop(
            lambda y: jnp.max(y) < 100.0, lambda y: 2 * y + 1, jnp.abs(x)
        ),
        X,
        False,
    ),
    "cut apart anew": (
        lambda x: jnp.sin(x.reshape(2, -1)).reshape(x.shape),
        SEQUENCE,
        True,
    ),
    "tokens sent to experts": (
        lambda x: _experts(x),
        SEQUENCE,
        True,
    ),
}


def _experts(x):
    """Sorts tokens by expert, computes expert by expert, and puts them back."""
    rows = x.reshape(-1, 4)
    order = jnp.argsort(rows[:, 0] > 0)
    sent = rows[order]
    done = jnp.where(sent[:, :1] > 0, jnp.sin(sent), jnp.cos(sent))
    return jnp.zeros_like(rows).at[order].set(done).reshape(x.shape)


@pytest.mark.parametrize("name", UNDECIDED)
def test_what_is_unclear_is_neither_proven_nor_refused_but_tested(name):
    function, data, independent = UNDECIDED[name]
    traced = of_data(function, data)
    verdict = traced.verdict()
    assert isinstance(verdict, Undecided), verdict
    assert verdict.why
    assert traced.probe() == independent


# ------------------------------------------------------------------ models


def many(examples):
    """Returns 13 examples, the given ones again and again, each a little different."""

    def repeated(leaf):
        cycled = np.resize(leaf, (N, *leaf.shape[1:]))
        if not np.issubdtype(leaf.dtype, np.floating):
            return cycled
        return cycled + 0.1 * normal(*cycled.shape)

    return jax.tree.map(repeated, examples)


@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_models_of_every_library_are_proven_independent(name):
    f, params, x1, _ = problem(name)
    traced = Traced(f, params, many(x1))
    verdict = traced.verdict()
    assert isinstance(verdict, Independent), (verdict.equation.primitive, verdict.why)
    assert verdict.output_axes == (0,)
    assert traced.probe()


def linen_with_batch_norm(*, train):
    nn = pytest.importorskip("flax.linen")

    class Network(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Dense(5)(x)
            x = nn.BatchNorm(use_running_average=not train)(x)
            return nn.Dense(2)(nn.relu(x))

    network = Network()
    variables = network.init(jax.random.key(0), X)

    def f(params, x):
        everything = {**variables, "params": params}
        if train:
            return network.apply(everything, x, mutable=["batch_stats"])[0]
        return network.apply(everything, x)

    return Traced(f, variables["params"], X)


def test_batch_norm_in_train_mode_is_refused_with_the_line():
    traced = linen_with_batch_norm(train=True)
    assert not traced.probe()
    with pytest.raises(InteractingExamplesError) as caught:
        traced.check(arrays=False)
    message = str(caught.value)
    assert "`reduce_sum` at normalization.py:" in message
    assert "it reduces over the axis of the examples" in message
    assert "reduce_sum(float32[13,5]) -> float32[5]" in message
    assert "batch_axis=None" in message
    assert "eval mode" in message


def test_batch_norm_in_eval_mode_is_independent():
    traced = linen_with_batch_norm(train=False)
    assert isinstance(traced.check(arrays=False), Independent)
    assert traced.probe()


def test_vmapped_modules_are_independent():
    equinox = pytest.importorskip("equinox")
    network = equinox.nn.MLP(6, 3, 8, 2, key=jax.random.key(0))
    params, static = equinox.partition(network, equinox.is_array)

    def f(params, x):
        return jax.vmap(equinox.combine(params, static))(x)

    traced = Traced(f, params, X)
    assert traced.verdict() == Independent(output_axes=(0,))
    assert traced.probe()


# ------------------------------------------------------------------ verdicts


def test_output_axes_say_where_the_examples_are():
    traced = of_data(
        lambda x: (x.T, x.sum(1), jnp.ones(3), x.reshape(-1), jnp.ones((N, 2))), X
    )
    assert traced.verdict() == Independent(
        output_axes=(1, 0, None, 0, None), merged_outputs=(3,)
    )


def test_several_inputs_on_another_batch_axis():
    x, y = normal(6, N), normal(2, N, seed=1)
    traced = Traced(
        lambda p, both: jnp.tanh(p @ both["x"]) * both["y"].sum(0),
        WEIGHT,
        {"x": x, "y": y},
        batch_axis=1,
    )
    assert traced.verdict() == Independent(output_axes=(1,))
    assert traced.probe()


def test_inputs_without_the_examples_are_a_mistake():
    traced = of_data(jnp.sin, X)
    with pytest.raises(ValueError, match="without 12 examples on axis 0"):
        follow_examples(traced.body, n_examples=12, **traced.where)
    with pytest.raises(ValueError, match="two to interact"):
        follow_examples(traced.body, n_examples=1, **traced.where)


# A batch whose size divides other axes: nothing may be proven by mistaking them.
@pytest.mark.parametrize(
    ("function", "independent"),
    [
        (lambda x: x - x.mean(0), False),
        (lambda x: x - x.mean(1), False),
        (lambda x: x - x.mean(1, keepdims=True), True),
        (lambda x: x + x.T, False),
        (lambda x: (x.T @ jnp.ones((len(x), 4))).sum(1), False),
        (lambda x: x.reshape(-1).reshape(2, 4, -1).sum((0, 2)), False),
    ],
)
def test_axes_as_long_as_the_batch_are_not_taken_for_it(function, independent):
    traced = of_data(function, normal(4, 4))
    verdict = follow_examples(traced.body, n_examples=4, **traced.where)
    assert isinstance(verdict, Independent) == independent


# ------------------------------------------------------------------ errors, warnings


def test_mixing_is_refused_with_the_users_line():
    traced = of_data(lambda x: x - x.mean(0), X)
    for arrays in (False, True):
        with pytest.raises(InteractingExamplesError, match=r"at test_examples\.py:\d+"):
            traced.check(arrays=arrays)


def test_unclear_and_found_dependent_is_refused():
    with pytest.raises(InteractingExamplesError) as caught:
        of_data(lambda x: x + jnp.roll(x, 1, 0), X).check(arrays=True)
    assert caught.value.primitive == "concatenate" or caught.value.primitive == "slice"
    assert "on the given arrays, an example's output changed" in str(caught.value)


def test_unclear_and_found_independent_is_said():
    with pytest.warns(UndecidedIndependenceWarning) as caught:
        verdict = of_data(lambda x: jnp.sin(x[::-1])[::-1], X).check(arrays=True)
    assert isinstance(verdict, Undecided)
    (warning,) = caught
    assert warning.message.tested
    assert warning.message.primitive == "rev"
    assert "tested on the given arrays and held, but is not proven" in str(
        warning.message
    )


def test_unclear_without_arrays_is_said_to_be_untested():
    with pytest.warns(UndecidedIndependenceWarning) as caught:
        of_data(lambda x: jnp.sin(x[::-1])[::-1], X).check(arrays=False)
    (warning,) = caught
    assert not warning.message.tested
    assert "neither proven nor tested" in str(warning.message)
    assert "Give arrays" in str(warning.message)


def test_proven_is_silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        of_data(jnp.sin, X).check(arrays=True)


# ------------------------------------------------------------------ the probe


def probe(function, *data, batch_axis=0):
    return probe_independence(
        function, data, batch_axis, data_inputs=tuple(range(len(data)))
    )


def test_probe_takes_one_example():
    assert probe(jnp.sin, X[:1])
    assert not probe(lambda x: x - x.mean(0), X[:1])


def test_probe_finds_a_rare_interaction():
    assert not probe(lambda x: x + 0.01 * jnp.max(x, 0), X)
    assert not probe(lambda x: jnp.where(jnp.max(x) > 3.0, x, 2 * x), X)


def test_probe_allows_for_nan():
    with_nan = X.copy()
    with_nan[1, 2] = np.nan
    assert probe(jnp.sqrt, with_nan)
    assert not probe(lambda x: x[:, 2:3] + x[:, 2:3].sum(0), with_nan)


def test_probe_finds_the_size_of_the_batch():
    assert not probe(lambda x: x / len(x), X)


def test_probe_of_whole_numbers_and_keys():
    keys = jax.random.split(jax.random.key(0), 5)
    assert probe(lambda t: jax.nn.one_hot(t, 7) @ TABLE, TOKENS)
    assert not probe(lambda t: t - t.sum(0), TOKENS)
    assert probe(jax.vmap(lambda key: jax.random.normal(key, (2,))), keys)


def test_probe_tells_rounding_from_interaction():
    wide = normal(200, 300)
    assert probe(lambda x: jnp.tanh(x @ wide) @ wide.T, normal(6, 200))
    assert not probe(lambda x: x + 1e-3 * x.mean(0), normal(6, 200))


def test_probe_needs_an_example_axis():
    assert not probe(lambda x: x.sum(), X)
    assert probe(lambda x: jnp.ones(3), X)


# ------------------------------------------------------------------ the table


def test_a_primitive_with_two_rules_is_a_bug():
    family = elementwise.rules()
    with pytest.raises(InternalError, match="two axis rules for `abs`"):
        assemble([family, family[:1]])


def test_the_table_has_the_common_primitives():
    for primitive in (primitives.add_p, primitives.dot_general_p, primitives.gather_p):
        assert primitive in axis_rules()
