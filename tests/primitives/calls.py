"""Models with control flow, a call or a random number on the data path."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from tests.primitives.elementwise import positive
from tests.primitives.model import PrimitiveModel, model


@jax.custom_jvp
def _tripled(h):
    return 3.0 * h


_tripled.defjvps(lambda tangent, out, h: 2.0 * h * tangent)


@jax.custom_vjp
def _squared(h):
    return h * h


_squared.defvjp(lambda h: (h * h, h), lambda h, g: (jnp.sin(h) * g,))


def _loop(h):
    """A loop until a condition holds, of what no parameter is differentiated in."""

    def step(carry):
        return carry[0] + 1, jnp.sin(carry[1])

    held = lax.stop_gradient(h)
    return h * lax.while_loop(lambda carry: carry[0] < 3, step, (0, held))[1]


def _scan(h):
    return lax.scan(lambda c, v: (jnp.sin(c + v), c * v), h[0], h[1:])


def _sharded(h):
    mesh = jax.make_mesh((1,), ("part",))
    everywhere = jax.sharding.PartitionSpec()
    return jax.shard_map(
        lambda v: lax.psum(jnp.sin(v), "part"),
        mesh=mesh,
        in_specs=everywhere,
        out_specs=everywhere,
    )(h)


def _placed(h):
    mesh = jax.make_mesh((1,), ("part",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    return lax.with_sharding_constraint(h * 2.0, sharding) * h


def _called_back(h):
    """numpy's sine of the data, which no derivative passes."""
    held, shape = lax.stop_gradient(h), jax.ShapeDtypeStruct(h.shape, h.dtype)
    return h * jax.pure_callback(np.sin, shape, held, vmap_method="expand_dims")


def _printed(h):
    jax.debug.callback(lambda value: None, h)
    return jnp.sin(h)


def _noise(h):
    key = jax.random.fold_in(jax.random.split(jax.random.key(1))[0], 3)
    return h * jax.random.normal(key, (4,))


def _generated(h):
    key = jnp.array([1, 2, 3, 4], jnp.uint32)
    return h * lax.rng_bit_generator(key, (4,))[1].astype(h.dtype) / 2.0**32


CONTROL: tuple[PrimitiveModel, ...] = (
    model("scan", _scan),
    model(
        "scan",
        lambda h: lax.fori_loop(0, 3, lambda i, v: jnp.sin(v) + i, h),
        name="fori_loop",
    ),
    model("cond", lambda h: lax.cond(jnp.arange(2)[1] > 0, jnp.sin, jnp.cos, h)),
    model(
        "select_n",
        lambda h: lax.cond(h[0] > 0, jnp.sin, jnp.cos, h),
        name="cond_on_data",
    ),
    model(
        "mul",
        lambda h: lax.associative_scan(jnp.multiply, h),
        name="associative_scan",
    ),
    model("while", _loop),
)

CALLS: tuple[PrimitiveModel, ...] = (
    model("jit", jax.jit(jnp.sin)),
    model("remat2", jax.checkpoint(jnp.sin)),
    model("custom_jvp_call", _tripled),
    model("custom_vjp_call", _squared),
    model("stop_gradient", lambda h: lax.stop_gradient(h) * h),
    model("name", lambda h: checkpoint_name(h * 2.0, "mine") * h),
    model("optimization_barrier", lambda h: lax.optimization_barrier(h * 2.0) * h),
    model("device_put", lambda h: jax.device_put(h) * h),
    model("shard_map", _sharded, whole=True, by_reference=True),
    model("sharding_constraint", _placed, whole=True, by_reference=True),
    model("pure_callback", _called_back, by_reference=True),
    model("debug_callback", _printed),
)

RANDOM: tuple[PrimitiveModel, ...] = (
    model("random_seed random_split random_fold_in random_bits", _noise),
    model(
        "random_wrap random_unwrap",
        lambda h: h * jax.random.uniform(jax.random.PRNGKey(1), (4,)),
    ),
    model("rng_bit_generator", _generated),
    model(
        "random_gamma",
        lambda h: jax.random.gamma(jax.random.key(3), h),
        shapes=((2,),),
        domain=positive,
        slow=True,
    ),
)

MODELS: tuple[PrimitiveModel, ...] = (*CONTROL, *CALLS, *RANDOM)
