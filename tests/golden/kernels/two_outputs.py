"""The neural tangent kernels of `f`: policy, value.

Params: {policy: 12x4, trunk: 6x12, value: 12x1}, 132 numbers in 3 leaves, float32. x:
float32[n,6]. Axis 0 of x counts examples; n1 and n2 are free.

total 23.3 us: call 9.6 us, forward 3.62 us, sweep 1.34 us, contractions 4.94 us, push
3.83 us.
total 18 kflop, 33.1KiB moved, peak 7.11KiB of at most 16.9GiB.
device golden_cpu (cpu), rates measured 2026-11-21.
JAX 0.10's CPU compiler gets some sums of derivatives wrong, unless XLA_FLAGS holds
--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT.

Written by ntkplan 0.1.0; to plan again: ntkplan.plan(f, params, x1, x2,
device="golden_cpu"). Run as a program, it compares itself with dense Jacobians.
"""

import jax
import jax.numpy as jnp
import numpy

PARAMS = {"policy": "float32[12,4]", "trunk": "float32[6,12]", "value": "float32[12,1]"}
X = "float32[n,6]"


# The full neural tangent kernel of output policy of `f`, [n1, n2, 4, 4], planned for
# n1=4, n2=3.
def forward_policy(params, x, taps):
    """Outputs of one example, and what its layers were given."""
    trunk_out = x[None] @ params["trunk"] + taps["trunk"]
    trunk_act = jnp.tanh(trunk_out)
    policy_out = trunk_act @ params["policy"] + taps["policy"]
    activations = {"trunk_act": trunk_act[0], "x": x}
    return policy_out[0], activations


def zero_taps_policy():
    """Zeros to add to values of the forward pass."""
    return {"policy": jnp.zeros(4, jnp.float32), "trunk": jnp.zeros(12, jnp.float32)}


def derivatives_policy(params, x):
    """Activations and cotangents, d output / d tap, of one example."""
    taps = zero_taps_policy()
    _, pull_back, activations = jax.vjp(
        lambda taps: forward_policy(params, x, taps), taps, has_aux=True
    )
    (cotangents,) = jax.vmap(pull_back)(jnp.eye(4, dtype=jnp.float32))
    return activations, cotangents


@jax.jit
@jax.default_matmul_precision("highest")
def kernel_policy(params, x1, x2=None):
    """Returns the kernel, [n1, n2, 4, 4]."""
    check_shapes(params, x1, x2)
    side1 = jax.vmap(derivatives_policy, (None, 0))(params, x1)
    side2 = side1 if x2 is None else jax.vmap(derivatives_policy, (None, 0))(params, x2)
    # A1, A2: activations of x1 and x2; C1, C2: cotangents.
    a1, c1 = side1
    a2, c2 = side2

    # policy [12x4]: structured_derivatives, (C1 C2)(A1 A2); 2.21 kflop, 5.36KiB,
    # 2.45 us
    cotangent_gram = jnp.einsum("noy,mpy->nomp", c1["policy"], c2["policy"])
    gram = jnp.einsum("nx,mx->nm", a1["trunk_act"], a2["trunk_act"])
    theta = cotangent_gram * gram[:, None, :, None]

    # trunk [6x12]: structured_derivatives, (C1 C2)(A1 A2); 5.14 kflop, 6.07KiB, 2.49 us
    cotangent_gram = jnp.einsum("noy,mpy->nomp", c1["trunk"], c2["trunk"])
    gram = jnp.einsum("nx,mx->nm", a1["x"], a2["x"])
    theta += cotangent_gram * gram[:, None, :, None]

    return theta.transpose(0, 2, 1, 3)


# The full neural tangent kernel of output value of `f`, [n1, n2, 1, 1], planned for
# n1=4, n2=3.
def forward_value(params, x, shifts):
    """Outputs of one example."""
    trunk, value = params["trunk"], params["value"]
    trunk = trunk + shifts["trunk"]
    value = value + shifts["value"]
    logits = jnp.tanh(x[None] @ trunk) @ value
    return logits[0]


def zero_shifts_value():
    """Zeros to add to leaves in the forward pass."""
    return {
        "trunk": jnp.zeros((6, 12), jnp.float32),
        "value": jnp.zeros((12, 1), jnp.float32),
    }


def pushed_value(params, x1, x2):
    """NTK-vector products: pull back at x2, push forward at x1."""
    shifts = zero_shifts_value()
    basis = jnp.eye(1, dtype=jnp.float32)

    def outputs(x):
        return lambda shifts: forward_value(params, x, shifts)

    def columns(x, push):
        _, pull_back = jax.vjp(outputs(x), shifts)
        return jax.lax.map(lambda row: push(*pull_back(row)), basis)

    _, push = jax.linearize(
        lambda shifts: jax.vmap(lambda x: outputs(x)(shifts))(x1), shifts
    )
    parts = jax.lax.map(lambda x: columns(x, push), x2)
    return jnp.einsum("mpno->nm", parts)


@jax.jit
@jax.default_matmul_precision("highest")
def kernel_value(params, x1, x2=None):
    """Returns the kernel, [n1, n2, 1, 1]."""
    check_shapes(params, x1, x2)

    # trunk [6x12], value [12x1]: ntk_vector_products, pull back, push forward
    theta = pushed_value(params, x1, x1 if x2 is None else x2)

    return theta.reshape(theta.shape[0], 1, theta.shape[1], 1).transpose(0, 2, 1, 3)


def kernel(params, x1, x2=None):
    """Returns the kernels of all outputs, in their tree."""
    theta_policy = kernel_policy(params, x1, x2)
    theta_value = kernel_value(params, x1, x2)
    return {"policy": theta_policy, "value": theta_value}


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
def dense_kernel_policy(params, x1, x2):
    """The kernel by dense Jacobians, to check `kernel_policy` with."""

    def outputs(params, x):
        return forward_policy(params, x, zero_taps_policy())[0]

    def jacobians(x):
        leaves = jax.tree.leaves(jax.vmap(jax.jacrev(outputs), (None, 0))(params, x))
        return [rows.reshape(len(rows), 4, -1) for rows in leaves]

    sides = zip(jacobians(x1), jacobians(x2))
    return sum(jnp.einsum("noz,mpz->nmop", *pair) for pair in sides)


@jax.jit
def dense_kernel_value(params, x1, x2):
    """The kernel by dense Jacobians, to check `kernel_value` with."""

    def outputs(params, x):
        return forward_value(params, x, zero_shifts_value())

    def jacobians(x):
        leaves = jax.tree.leaves(jax.vmap(jax.jacrev(outputs), (None, 0))(params, x))
        return [rows.reshape(len(rows), 1, -1) for rows in leaves]

    sides = zip(jacobians(x1), jacobians(x2))
    return sum(jnp.einsum("noz,mpz->nmop", *pair) for pair in sides)


if __name__ == "__main__":
    jax.config.update("jax_default_matmul_precision", "highest")
    params = random_like(PARAMS, 0)
    x1, x2 = random_like(X, 1, n=3), random_like(X, 2, n=2)
    errors = []
    checked = [
        (kernel_policy, dense_kernel_policy),
        (kernel_value, dense_kernel_value),
    ]
    for other in (x2, None):
        for found, dense in checked:
            got = found(params, x1, other)
            wanted = dense(params, x1, x1 if other is None else other)
            errors.append(abs(got - wanted).max() / abs(wanted).max())
    worst = numpy.max(errors)
    print(f"largest relative error {worst:.1e}, against dense Jacobians")
    raise SystemExit(0 if worst < 0.001 else 1)
