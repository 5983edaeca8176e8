"""Convolutions of every kind, through the whole of ntkplan, on every method."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import ntkplan
from tests.oracles import dense_jacobian, kernel_of_jacobians, relative_error, x64

NHWC = ("NHWC", "HWIO", "NHWC")
METHODS = (
    None,
    "jacobian_contraction",
    "structured_derivatives",
    "ntk_vector_products",
)
KERNELS = ("full", "trace", "diagonal", "sum_of_logits")
TOLERANCE = 1e-12
N1, N2 = 3, 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network:
    """A function of params and a batch, and shapes of both.

    Attributes:
        f: The model.
        params: Shapes of its leaves.
        example: Shape of one example.
        opaque: Leaves that have no structure.
    """

    f: Callable[[Any, Any], Any]
    params: dict[str, tuple[int, ...]]
    example: tuple[int, ...]
    opaque: tuple[str, ...] = ()


def convolve(x, w, strides=None, padding="SAME", layout=NHWC, **options):
    strides = strides or (1,) * (w.ndim - 2)
    return lax.conv_general_dilated(
        x, w, strides, padding, dimension_numbers=layout, **options
    )


def pooled(h):
    """Sums over space, after a curve that makes every entry's derivative its own."""
    return jnp.sin(h).sum(axis=tuple(range(1, h.ndim - 1)))


def one(shape, example, layout=NHWC, **options):
    """Returns a network of one convolution between two products."""
    features = layout[2].index("C")

    def f(params, x):
        h = convolve(jnp.tanh(x), params["w"], layout=layout, **options)
        space = tuple(a for a in range(1, h.ndim) if a != features)
        return jnp.sin(h).sum(axis=space) @ params["head"]

    kernel = dict(zip(layout[1], shape, strict=True))
    return Network(f=f, params={"w": shape, "head": (kernel["O"], 2)}, example=example)


def transposed(params, x):
    h = jnp.tanh(convolve(x, params["w"], strides=(2, 2)))
    h = lax.conv_transpose(h, params["v"], (2, 2), "SAME", dimension_numbers=NHWC)
    return pooled(h)


def scanned_over(params, x):
    def layer(h, kernel):
        return jnp.tanh(convolve(h, kernel)), None

    return pooled(lax.scan(layer, x, params["w"])[0])


def scanned_over_depthwise(params, x):
    def layer(h, kernel):
        h = convolve(h, kernel, feature_group_count=2, padding=((2, -1), (0, 1)))
        return jnp.tanh(h), h.sum(axis=(1, 2))

    h, sums = lax.scan(layer, x, params["w"], reverse=True)
    return pooled(h) + sums[1]


def closed_over(params, x):
    def step(h, _):
        return jnp.tanh(convolve(h, params["w"]) + x), None

    return pooled(lax.scan(step, x, None, length=3)[0])


def scanned_twice(params, x):
    def outer(h, kernel):
        def inner(h, _):
            h = convolve(h, kernel, rhs_dilation=(2, 1), feature_group_count=2)
            return jnp.tanh(h), None

        return lax.scan(inner, h, None, length=2)[0], None

    return pooled(lax.scan(outer, x, params["w"])[0])


def over_frames(params, x):
    """A video: `[n, time, height, width, features]`."""
    return pooled(jax.vmap(convolve, (1, None), 1)(x, params["w"]))


def ensemble(params, x):
    h = jax.vmap(convolve, (None, 0), 1)(x, params["w"])
    return pooled(h).reshape(len(x), -1)[:, :3]


def ensemble_each_its_own(params, x):
    h = jax.vmap(convolve, (1, 0), 1)(x, params["w"])
    return jnp.sin(h).sum(axis=(2, 3)).reshape(len(x), -1)[:, ::2]


def ensemble_over_frames(params, x):
    grouped = functools.partial(convolve, feature_group_count=2)
    one_frame = jax.vmap(grouped, (None, 0), 1)
    h = jax.vmap(one_frame, (1, None), 1)(x, params["w"])
    return jnp.sin(h).sum(axis=(1, 3, 4)).reshape(len(x), -1)[:, :3]


def per_example(params, x):
    """vmap over single examples, as written by hand."""

    def f(example):
        return pooled(convolve(example[None], params["w"]))[0]

    return jax.vmap(f)(x)


def made_kernel(params, x):
    """A kernel that is made of leaves: scaled, masked and turned around."""
    kernel = params["w"] * jnp.exp(params["s"])
    kernel = jnp.where(np.arange(3)[:, None, None, None] < 2, kernel, 0.0)
    return pooled(convolve(x, lax.rev(kernel, (0, 1))))


def tied(params, x):
    h = jnp.tanh(convolve(x, params["w"]))
    return pooled(lax.conv_transpose(h, params["w"], (1, 1), "SAME", None, NHWC, True))


def template(params, x):
    """The data is the kernel, a leaf is what it is moved over."""
    kernels = x.reshape(len(x), 2, 2, 1, 3)
    return pooled(jax.vmap(lambda kernel: convolve(params["w"], kernel)[0])(kernels))


def template_of_points(params, x):
    kernels = x.reshape(len(x), 1, 1, 2, 3)
    return pooled(jax.vmap(lambda kernel: convolve(params["w"], kernel)[0])(kernels))


def fixed_image(params, x):
    image = np.sin(np.arange(40.0)).reshape(1, 5, 4, 2)
    return x @ jnp.tanh(convolve(image.astype(x.dtype), params["w"]))[0, 0]


def batch_groups(params, x):
    """Half of a leaf's outputs see half of the frames."""

    def f(frames):
        h = convolve(frames, params["w"], batch_group_count=2)
        return jnp.sin(h).sum(axis=(0, 1, 2))

    return jax.vmap(f)(x)


def input_gradient(params, x):
    """The derivative of a depthwise convolution by its kernel is in batch groups."""

    def energy(kernel, example):
        h = convolve(example[None], kernel, feature_group_count=2)
        return jnp.sum(jnp.tanh(h @ params["v"]))

    gradient = jax.vmap(jax.grad(energy), (None, 0))(params["w"], x)
    return gradient.reshape(len(x), -1)[:, ::3]


NETWORKS = {
    "same": one((3, 2, 2, 3), (4, 5, 2)),
    "valid_strided": one((3, 2, 2, 3), (7, 4, 2), strides=(2, 3), padding="VALID"),
    "explicit": one((2, 3, 2, 3), (3, 4, 2), padding=((2, 0), (1, 3))),
    "negative": one((2, 2, 2, 3), (5, 4, 2), padding=((-1, 2), (0, -2))),
    "input_dilation": one(
        (3, 2, 2, 3), (3, 4, 2), lhs_dilation=(2, 3), padding=((1, 2), (-1, 1))
    ),
    "kernel_dilation": one((3, 2, 2, 3), (5, 5, 2), rhs_dilation=(2, 3)),
    "everything": one(
        (2, 3, 1, 6),
        (4, 3, 2),
        strides=(2, 1),
        padding=((3, -1), (2, 2)),
        lhs_dilation=(2, 3),
        rhs_dilation=(3, 2),
        feature_group_count=2,
    ),
    "depthwise": one((3, 3, 1, 4), (4, 3, 4), feature_group_count=4),
    "one_channel": one((2, 2, 1, 1), (4, 3, 1)),
    "line": one((3, 2, 3), (7, 2), layout=("NWC", "WIO", "NWC"), strides=(2,)),
    "line_first": one((3, 2, 3), (2, 7), layout=("NCW", "OIW", "NCW")),
    "plane_first": one(
        (6, 2, 3, 2), (4, 3, 4), layout=("NCHW", "OIHW", "NCHW"), feature_group_count=2
    ),
    "plane_mixed": one((2, 3, 3, 2), (4, 2, 5), layout=("NHCW", "IHOW", "NWHC")),
    "space": one((2, 1, 2, 2, 3), (3, 2, 4, 2), layout=("NHWDC", "HWDIO", "NHWDC")),
    "space_first": one(
        (3, 2, 2, 1, 2),
        (2, 3, 2, 3),
        layout=("NCHWD", "OIHWD", "NCHWD"),
        strides=(1, 2, 1),
    ),
    "transposed": Network(
        f=transposed, params={"w": (3, 3, 2, 3), "v": (3, 2, 3, 2)}, example=(5, 4, 2)
    ),
    "scanned_over": Network(
        f=scanned_over, params={"w": (3, 3, 2, 2, 2)}, example=(4, 3, 2)
    ),
    "scanned_over_depthwise": Network(
        f=scanned_over_depthwise, params={"w": (3, 2, 2, 1, 2)}, example=(4, 3, 2)
    ),
    "closed_over": Network(
        f=closed_over, params={"w": (3, 2, 2, 2)}, example=(4, 3, 2)
    ),
    "scanned_twice": Network(
        f=scanned_twice, params={"w": (3, 2, 3, 1, 2)}, example=(4, 3, 2)
    ),
    "over_frames": Network(
        f=over_frames, params={"w": (3, 2, 2, 3)}, example=(3, 4, 3, 2)
    ),
    "ensemble": Network(f=ensemble, params={"w": (4, 3, 2, 2, 3)}, example=(4, 3, 2)),
    "ensemble_each_its_own": Network(
        f=ensemble_each_its_own, params={"w": (3, 3, 2, 2, 2)}, example=(3, 4, 3, 2)
    ),
    "ensemble_over_frames": Network(
        f=ensemble_over_frames, params={"w": (2, 3, 2, 1, 4)}, example=(3, 4, 3, 2)
    ),
    "per_example": Network(
        f=per_example, params={"w": (3, 3, 2, 2)}, example=(4, 3, 2)
    ),
    "made_kernel": Network(
        f=made_kernel, params={"w": (3, 2, 2, 3), "s": (3,)}, example=(4, 3, 2)
    ),
    "tied": Network(f=tied, params={"w": (3, 2, 2, 3)}, example=(4, 3, 2)),
    "template": Network(
        f=template, params={"w": (1, 5, 4, 1)}, example=(12,), opaque=("w",)
    ),
    "template_of_points": Network(
        f=template_of_points, params={"w": (1, 3, 4, 2)}, example=(6,)
    ),
    "fixed_image": Network(f=fixed_image, params={"w": (3, 2, 2, 3)}, example=(4,)),
    "batch_groups": Network(
        f=batch_groups, params={"w": (3, 2, 2, 4)}, example=(6, 4, 3, 2)
    ),
    "input_gradient": Network(
        f=input_gradient, params={"w": (2, 2, 1, 4), "v": (4, 3)}, example=(4, 3, 2)
    ),
}


def arrays(network: Network) -> tuple[Any, Any]:
    rng = np.random.default_rng(7)
    params = {
        name: rng.normal(size=shape) / np.sqrt(np.prod(shape[:-1]))
        for name, shape in network.params.items()
    }
    return params, rng.normal(size=(N1 + N2, *network.example))


@functools.cache
def jacobian(name: str) -> np.ndarray:
    network = NETWORKS[name]
    return dense_jacobian(network.f, *arrays(network))


def check(name: str, method: str | None, kernel: str, cross: bool) -> None:
    network = NETWORKS[name]
    params, x = arrays(network)
    first, second = (x[:N1], x[N1:]) if cross else (x[:N1], None)
    j1, j2 = (jacobian(name)[rows] for rows in (slice(N1), slice(N1, None)))
    wanted = kernel_of_jacobians(j1, j2 if cross else j1, kernel)
    with x64():
        plan = ntkplan.plan(
            network.f, params, first, second, kernel=kernel, methods=method
        )
        got = plan.compile()(params, first, *([second] if cross else []))
    assert got.dtype == np.float64
    assert relative_error(got, wanted) <= TOLERANCE
    opaque = {layer.path for layer in plan.layers if layer.rules == ("opaque",)}
    assert opaque == set(network.opaque)


CELLS = tuple(itertools.product(METHODS, KERNELS, (False, True)))
# Every network meets one of the cells, other ones from network to network.
CHOSEN = [(name, *CELLS[5 * turn % len(CELLS)]) for turn, name in enumerate(NETWORKS)]


@pytest.mark.parametrize(("name", "method", "kernel", "cross"), CHOSEN)
def test_convolutions(name, method, kernel, cross):
    check(name, method, kernel, cross)


@pytest.mark.slow
@pytest.mark.parametrize(("turn", "name"), enumerate(NETWORKS))
def test_further_ways(turn, name):
    for method, kernel, cross in CELLS[turn % 5 :: 5]:
        check(name, method, kernel, cross)


@pytest.mark.slow
@pytest.mark.hours
@pytest.mark.parametrize("name", NETWORKS)
def test_every_way(name):
    for method, kernel, cross in CELLS:
        check(name, method, kernel, cross)
