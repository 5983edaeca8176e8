"""Functions whose examples interact, and functions of which no proof says so."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.trace.batches import IMAGE, SEQUENCE, TOKENS, WEIGHT, X, convolve, normal


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


def shift_by_global_largest(x):
    shifted = jnp.exp(x - jnp.max(x))
    return shifted / shifted.sum(-1, keepdims=True)


def _experts(x):
    """Sorts tokens by expert, computes expert by expert, and puts them back."""
    rows = x.reshape(-1, 4)
    order = jnp.argsort(rows[:, 0] > 0)
    sent = rows[order]
    done = jnp.where(sent[:, :1] > 0, jnp.sin(sent), jnp.cos(sent))
    return jnp.zeros_like(rows).at[order].set(done).reshape(x.shape)


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
