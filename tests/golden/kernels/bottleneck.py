"""The full neural tangent kernel of `f`, [n1, n2, 60, 60], planned for n1=4, n2=3.

Params: {code: 40x2, decode: 2x60, encode: 40x40}, 1,800 numbers in 3 leaves, float32.
x: float32[n,40]. Axis 0 of x counts examples; n1 and n2 are free.

total 98.9 us: call 4.8 us, forward 4.64 us, sweep 13.2 us, contractions 76.3 us, push
0 s.
total 5.65 Mflop, 2.1MiB moved, peak 646KiB of at most 16.9GiB.
device golden_cpu (cpu), rates measured 2026-11-21.
JAX 0.10's CPU compiler gets some sums of derivatives wrong, unless XLA_FLAGS holds
--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT.
cut at tanh (models.py:379) [2] with 2 values: Theta = G Theta_cut G^T, 1.39 times
faster than without.
the kernel of 2 leaves at the cut 14.9 us, its products with G 25.6 us in the order C1
(H C2).

Written by ntkplan 0.1.0; to plan again: ntkplan.plan(f, params, x1, x2,
device="golden_cpu"). Run as a program, it compares itself with dense Jacobians.
"""

import jax
import jax.numpy as jnp
import numpy

PARAMS = {"code": "float32[40,2]", "decode": "float32[2,60]",
    "encode": "float32[40,40]"}  # fmt: skip
X = "float32[n,40]"


# The kernel of the 2 values at the cut.
def forward_hidden(params, x, taps):
    """Outputs of one example, and what its layers were given."""
    encode_out = x[None] @ params["encode"] + taps["encode"]
    encode_act = jnp.tanh(encode_out)
    code_out = encode_act @ params["code"] + taps["code"]
    logits = jnp.tanh(code_out)
    activations = {"encode_act": encode_act[0], "x": x}
    return logits[0], activations


def zero_taps_hidden():
    """Zeros to add to values of the forward pass."""
    return {"code": jnp.zeros(2, jnp.float32), "encode": jnp.zeros(40, jnp.float32)}


def derivatives_hidden(params, x):
    """Activations and cotangents, d output / d tap, of one example."""
    taps = zero_taps_hidden()
    _, pull_back, activations = jax.vjp(
        lambda taps: forward_hidden(params, x, taps), taps, has_aux=True
    )
    (cotangents,) = jax.vmap(pull_back)(jnp.eye(2, dtype=jnp.float32))
    return activations, cotangents


@jax.jit
@jax.default_matmul_precision("highest")
def kernel_hidden(params, x1, x2=None):
    """Returns the kernel, [n1, n2, 2, 2]."""
    side1 = jax.vmap(derivatives_hidden, (None, 0))(params, x1)
    side2 = side1 if x2 is None else jax.vmap(derivatives_hidden, (None, 0))(params, x2)
    # A1, A2: activations of x1 and x2; C1, C2: cotangents; H: the kernel of the values
    # at the cut, Theta_cut; G: the cotangents of these.
    a1, c1 = side1
    a2, c2 = side2

    # code [40x2]: structured_derivatives, (C1 C2)(A1 A2); 1.25 kflop, 2.42KiB, 2.4 us
    cotangent_gram = jnp.einsum("noy,mpy->nomp", c1["code"], c2["code"])
    gram = jnp.einsum("nx,mx->nm", a1["encode_act"], a2["encode_act"])
    theta = cotangent_gram * gram[:, None, :, None]

    # encode [40x40]: structured_derivatives, (C1 C2)(A1 A2); 4.9 kflop, 4.5KiB, 2.57 us
    cotangent_gram = jnp.einsum("noy,mpy->nomp", c1["encode"], c2["encode"])
    gram = jnp.einsum("nx,mx->nm", a1["x"], a2["x"])
    theta += cotangent_gram * gram[:, None, :, None]

    return theta.transpose(0, 2, 1, 3)


# The full neural tangent kernel of `f`, [n1, n2, 60, 60], planned for n1=4, n2=3.
def forward(params, x, taps):
    """Outputs of one example, and what its layers were given."""
    h0 = jnp.tanh(x[None] @ params["encode"]) @ params["code"]
    cut_out = jnp.tanh(h0) + taps["cut"]
    decode_out = cut_out @ params["decode"] + taps["decode"]
    logits = jnp.sin(decode_out)
    activations = {"cut_out": cut_out[0]}
    return logits[0], activations


def zero_taps():
    """Zeros to add to values of the forward pass."""
    return {"decode": jnp.zeros(60, jnp.float32), "cut": jnp.zeros(2, jnp.float32)}


def derivatives(params, x):
    """Activations and cotangents, d output / d tap, of one example."""
    taps = zero_taps()
    _, pull_back, activations = jax.vjp(
        lambda taps: forward(params, x, taps), taps, has_aux=True
    )
    (cotangents,) = jax.vmap(pull_back)(jnp.eye(60, dtype=jnp.float32))
    return activations, cotangents


@jax.jit
@jax.default_matmul_precision("highest")
def kernel(params, x1, x2=None):
    """Returns the kernel, [n1, n2, 60, 60]."""
    check_shapes(params, x1, x2)
    hidden = kernel_hidden(params, x1, x2)
    side1 = jax.vmap(derivatives, (None, 0))(params, x1)
    side2 = side1 if x2 is None else jax.vmap(derivatives, (None, 0))(params, x2)
    a1, c1 = side1
    a2, c2 = side2

    # decode [2x60]: structured_derivatives, (C1 C2)(A1 A2); 5.27 Mflop, 1.09MiB,
    # 45.7 us
    cotangent_gram = jnp.einsum("noy,mpy->nomp", c1["decode"], c2["decode"])
    gram = jnp.einsum("nx,mx->nm", a1["cut_out"], a2["cut_out"])
    theta = cotangent_gram * gram[:, None, :, None]

    # the 2 values at the cut: G Theta_cut G^T, C1 (H C2)
    product_c2h = jnp.einsum("nmst,mpt->mnsp", hidden, c2["cut"])
    theta += jnp.einsum("nos,mnsp->nomp", c1["cut"], product_c2h)

    return theta.transpose(0, 2, 1, 3)


def shapes(tree, batch_axis=None):
    """Data types and shapes by their place, the number of examples as n."""
    found = {}
    for keys, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if not isinstance(leaf, str):
            sizes = [str(size) for size in leaf.shape]
            if batch_axis in range(-len(sizes), len(sizes)):
                sizes[batch_axis] = "n" if leaf.shape[batch_axis] else "n=0"
            leaf = f"{leaf.dtype}[{','.join(sizes)}]"
        found[jax.tree_util.keystr(keys)] = leaf.split()[0]
    return found


def check_shapes(params, x1, x2=None):
    """Raises ValueError where something else was planned for; n is free, from 1 on."""
    given = {"params": params, "x1": x1, "x2": x1 if x2 is None else x2}
    for name, tree in given.items():
        table, axis = (PARAMS, None) if name == "params" else (X, 0)
        got, planned = shapes(tree, axis), shapes(table)
        for place in planned | got:
            found = got.get(place, "missing" if place else f"a {type(tree).__name__}")
            if found != (wanted := planned.get(place, "nothing")):
                least = "n is at least 1. " if "n=0" in found else ""
                found = shapes(tree).get(place, found)
                raise ValueError(
                    f"{name}{place} is {found}, planned: {wanted}. {least}"
                    "The call that plans again is in the docstring."
                )


def random_like(planned, seed, n=None):
    """Random arrays; vectors are positive, as variances have to be."""
    rng = numpy.random.default_rng(seed)

    def draw(text):
        dtype, sizes = text.split("]")[0].split("[")
        shape = [int(n if k == "n" else k) for k in sizes.split(",") if k]
        if n is None and len(shape) < 2:
            return jnp.asarray(rng.uniform(0.5, 1.5, shape), dtype)
        scale = 1.0 if n else numpy.prod(shape[:-1]) ** -0.5
        return jnp.asarray(scale * rng.normal(size=shape), dtype)

    return jax.tree.map(draw, planned)


@jax.jit
def dense_kernel(params, x1, x2):
    """The kernel by dense Jacobians, to check `kernel` with."""

    def outputs(params, x):
        return forward(params, x, zero_taps())[0]

    def jacobians(x):
        leaves = jax.tree.leaves(jax.vmap(jax.jacrev(outputs), (None, 0))(params, x))
        return [rows.reshape(len(rows), 60, -1) for rows in leaves]

    sides = zip(jacobians(x1), jacobians(x2))
    return sum(jnp.einsum("noz,mpz->nmop", *pair) for pair in sides)


if __name__ == "__main__":
    jax.config.update("jax_default_matmul_precision", "highest")
    params = random_like(PARAMS, 0)
    x1, x2 = random_like(X, 1, n=3), random_like(X, 2, n=2)
    errors = []
    for other in (x2, None):
        got = kernel(params, x1, other)
        wanted = dense_kernel(params, x1, x1 if other is None else other)
        errors.append(abs(got - wanted).max() / abs(wanted).max())
    worst = numpy.max(errors)
    print(f"largest relative error {worst:.1e}, against dense Jacobians")
    raise SystemExit(0 if worst < 0.001 else 1)
