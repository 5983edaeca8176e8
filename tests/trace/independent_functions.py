"""Functions whose examples are independent, and proven so."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.trace.batches import (
    FILTER,
    IMAGE,
    SEQUENCE,
    SQUARE,
    TABLE,
    TOKENS,
    WEIGHT,
    X,
    convolve,
    convolve_one,
    normal,
)


def merged_positions(x):
    positions = x.reshape(len(x) * 5, 4)
    return jnp.tanh(positions @ jnp.ones((4, 2))).reshape(len(x), 5, 2).sum(1)


def views_side_by_side(x):
    both = jnp.tanh(jnp.concatenate([x, -2 * x]) @ WEIGHT)
    first, second = jnp.split(both, 2)
    return first * second


def batched_solve(x):
    return jnp.linalg.solve(x @ x.swapaxes(1, 2) + 3 * jnp.eye(4), x)


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
