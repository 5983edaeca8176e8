"""The sum of logits neural tangent kernel of `f`, [n1, n2], planned for n1=4, n2=3.

Params: {down: 4x10x3, gate: 6x4, up: 4x6x10}, 384 numbers in 3 leaves, float32. x:
float32[n,6]. Axis 0 of x counts examples; n1 and n2 are free.

total 21.6 us: call 4.8 us, forward 5.89 us, sweep 4.32 us, contractions 6.62 us, push
0 s.
total 15.2 kflop, 34KiB moved, peak 10.5KiB of at most 16.9GiB.
device golden_cpu (cpu), rates measured 2026-11-21.
JAX 0.10's CPU compiler gets some sums of derivatives wrong, unless XLA_FLAGS holds
--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT.

Written by ntkplan 0.1.0; to plan again: ntkplan.plan(f, params, x1, x2,
kernel="sum_of_logits", device="golden_cpu"). Run as a program, it compares itself with
dense Jacobians.
"""

import math

import jax
import jax.numpy as jnp
import numpy
from jax.experimental.layout import Layout, with_layout_constraint

PARAMS = {"down": "float32[4,10,3]", "gate": "float32[6,4]", "up": "float32[4,6,10]"}
X = "float32[n,6]"


def in_order(array):
    """Has cotangents in memory as products read them; XLA for CPUs copies them else."""
    # JAX misreads an array that comes out of `jax.jit` right after a constraint.
    return 1.0 * with_layout_constraint(1.0 * array, Layout(tuple(range(array.ndim))))


def inner_products(rows1, rows2, axes):
    """Inner products of rows of so many axes, as one product of two matrices."""
    shape1, shape2 = rows1.shape[:-axes], rows2.shape[:-axes]
    rows1 = rows1.reshape(math.prod(shape1), -1)
    rows2 = rows2.reshape(math.prod(shape2), -1)
    return jnp.matmul(rows1, rows2.T).reshape(*shape1, *shape2)


def forward(params, x, taps):
    """Outputs of one example, and what its layers were given."""
    gate_out = x[None] @ params["gate"] + taps["gate"]
    up_out = in_order(jnp.einsum("bd,hdk->bhk", x[None], params["up"]) + taps["up"])
    up_act = jax.nn.silu(up_out)
    down_out = jnp.einsum("abc,dab->acd", params["down"], up_act)
    down_out = in_order(down_out + taps["down"].reshape(4, 3, 1))
    h0 = down_out.transpose(2, 0, 1)
    logits = jnp.einsum("bk,bkd->bd", jax.nn.softmax(gate_out), h0)
    activations = {"up_act": up_act[0], "x": x}
    return logits[0], activations


def zero_taps():
    """Zeros to add to values of the forward pass."""
    return {
        "down": jnp.zeros((4, 3), jnp.float32),
        "gate": jnp.zeros(4, jnp.float32),
        "up": jnp.zeros((4, 10), jnp.float32),
    }


def derivatives(params, x):
    """Activations and cotangents, d output / d tap, of one example."""
    taps = zero_taps()
    _, pull_back, activations = jax.vjp(
        lambda taps: forward(params, x, taps), taps, has_aux=True
    )
    (cotangents,) = pull_back(jnp.full(3, 0.5773502691896257, jnp.float32))
    return activations, jax.tree.map(in_order, cotangents)


def both_sides(params, x1, x2):
    """The sides of x1 and x2, by one sweep, which is sooner compiled."""
    if x2 is None:
        side = jax.vmap(derivatives, (None, 0))(params, x1)
        return side, side
    n1 = jax.tree.leaves(x1)[0].shape[0]
    x = jax.tree.map(lambda *x: jnp.concatenate(x), x1, x2)
    both = jax.vmap(derivatives, (None, 0))(params, x)
    first = jax.tree.map(lambda a: a[:n1], both)
    return first, jax.tree.map(lambda a: a[n1:], both)


@jax.jit
@jax.default_matmul_precision("highest")
def kernel(params, x1, x2=None):
    """Returns the kernel, [n1, n2]."""
    check_shapes(params, x1, x2)
    side1, side2 = both_sides(params, x1, x2)
    # A1, A2: activations of x1 and x2; C1, C2: cotangents.
    a1, c1 = side1
    a2, c2 = side2

    # down [4x10x3]: sum_of_logits, (C1 A1)(C2 A2); 3.73 kflop, 8.17KiB, 2.65 us
    jacobian1 = jnp.einsum("ngy,ngx->ngyx", c1["down"], a1["up_act"])
    jacobian2 = jnp.einsum("ngy,ngx->ngyx", c2["down"], a2["up_act"])
    theta = inner_products(jacobian1, jacobian2, 3)

    # up [4x6x10], gate [6x4]: sum_of_logits, C1 ((A1 A2) C2); together 1.75 kflop,
    # 6.01KiB, 3.96 us
    gram_x = jnp.einsum("nx,mx->nm", a1["x"], a2["x"])
    product_a1a2c2 = jnp.einsum("nm,muv->nmuv", gram_x, c2["up"])
    theta += jnp.einsum("nuv,nmuv->nm", c1["up"], product_a1a2c2)
    product_a1a2c2 = jnp.einsum("nm,my->nmy", gram_x, c2["gate"])
    theta += jnp.einsum("ny,nmy->nm", c1["gate"], product_a1a2c2)

    return theta


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
        return forward(params, x, zero_taps())[0].sum() / 3**0.5

    def jacobians(x):
        leaves = jax.tree.leaves(jax.vmap(jax.jacrev(outputs), (None, 0))(params, x))
        return [rows.reshape(len(rows), -1) for rows in leaves]

    sides = zip(jacobians(x1), jacobians(x2))
    return sum(jnp.einsum("nz,mz->nm", *pair) for pair in sides)


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
