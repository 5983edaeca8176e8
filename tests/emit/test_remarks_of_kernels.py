"""What a kernel's own lines say and bind is what a reader of them needs."""

from __future__ import annotations

import jax
import jax.numpy as jnp

import ntkplan

_LEAF = {
    "weight": jax.ShapeDtypeStruct((4, 4), "float32"),
    "bias": jax.ShapeDtypeStruct((4,), "float32"),
}
PARAMS = [_LEAF] * 3
X = jax.ShapeDtypeStruct((3, 4), "float32")


def _perceptron(params, x):
    for layer in params:
        x = jnp.tanh(x @ layer["weight"] + layer["bias"])
    return x


def _source(function=_perceptron, params=PARAMS, x=X, **options):
    return ntkplan.plan(function, params, x, device="x86_64_cpu", **options).source()


def test_only_what_is_read_of_a_side_is_bound():
    source = _source(wrt=lambda path, leaf: "bias" in path)
    assert "    _, c1 = side1\n" in source
    assert "    _, c2 = side2\n" in source
    assert "a1" not in source


def _legends(source):
    """Returns the explanations of letters, each on one line, and whatever follows."""
    joined = source.replace("\n    # ", " ")
    return [line for line in joined.splitlines() if "C1, C2: cotangents" in line]


def test_letters_in_remarks_are_explained_once_above_what_they_name():
    source = _source()
    assert len(_legends(source)) == 1
    above, _, below = source.partition(
        "    # A1, A2: activations of x1 and x2; C1, C2: cotangents.\n"
    )
    assert "C1 C2" in above.splitlines()[-1], "not in the first function that says it"
    assert below.startswith("    (a1, c1), (a2, c2) = side1, side2\n")


def test_letters_that_do_not_occur_are_not_explained():
    (legend,) = _legends(_source(wrt=lambda path, leaf: "bias" in path))
    assert "C1, C2: cotangents of x1 and x2." in legend
    assert "A1" not in legend
    assert not _legends(_source(methods="ntk_vector_products"))


def test_factors_and_later_taps_are_explained():
    def pooled(params, x):
        for kernel in params[:2]:
            x = jnp.tanh(
                jax.lax.conv_general_dilated(
                    x,
                    kernel,
                    (1, 1),
                    "SAME",
                    dimension_numbers=("NHWC", "HWIO", "NHWC"),
                )
            )
        return x.mean(axis=(1, 2)) @ params[2]

    shapes = ((3, 3, 3, 8), (3, 3, 8, 16), (16, 10))
    params = [jax.ShapeDtypeStruct(shape, "float32") for shape in shapes]
    x = jax.ShapeDtypeStruct((4, 8, 8, 3), "float32")
    source = _source(pooled, params, x)
    assert ", tapped later;" in source
    (legend,) = _legends(source)
    assert "K1, K2: factors such as scales or slopes" in legend
    assert "tapped later: with cotangents of a sum behind the layer." in legend
