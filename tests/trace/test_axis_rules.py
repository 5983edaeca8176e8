"""Random programs: what the axis rules prove is what the numbers show."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from ntkplan._jax import primitives
from ntkplan.errors import InternalError
from ntkplan.trace.axis_rules import elementwise
from ntkplan.trace.axis_rules.factor import Factor
from ntkplan.trace.axis_rules.state import Held
from ntkplan.trace.axis_rules.table import assemble, axis_rules
from ntkplan.trace.axis_rules.walk import walk
from ntkplan.trace.jaxpr import flatten
from tests.trace.batches import normal

# The examples are as many as other axes are long, so that axes are easily mistaken.
N_EXAMPLES = 4
SHAPE = (N_EXAMPLES, 4, 2)
MOST_ELEMENTS = 400


def merge(value, axis, draw):
    shape = value.shape
    if axis == value.ndim - 1:
        return jnp.sin(value)
    return value.reshape(
        *shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :]
    )


def cut(value, axis, draw):
    length = value.shape[axis]
    parts = [part for part in (2, 4) if length % part == 0 and length > part]
    if not parts:
        return jnp.tanh(value)
    part = int(draw.choice(parts))
    new = (part, length // part) if draw.integers(2) else (length // part, part)
    return value.reshape(*value.shape[:axis], *new, *value.shape[axis + 1 :])


def thin(value, axis, draw):
    return lax.slice_in_dim(value, 0, value.shape[axis], 2, axis)


def halve(value, axis, draw):
    if value.shape[axis] % 2:
        return value
    return jnp.split(value, 2, axis)[int(draw.integers(2))]


def project(value, axis, draw):
    matrix = draw.normal(size=(value.shape[axis], 2)).astype(np.float32)
    return jnp.tensordot(value, matrix, ((axis,), (0,)))


def gram(value, axis, draw):
    return value @ jnp.swapaxes(value, -1, -2) if value.ndim > 1 else value


def total(value, axis, draw):
    return value.sum(axis) if value.ndim > 1 else value


def looped(value, axis, draw):
    return lax.map(lambda row: row * row.sum(), value)


def scanned(value, axis, draw):
    start = jnp.zeros(value.shape[1:], value.dtype)
    return lax.scan(lambda sums, row: (sums + row, sums * row), start, value)[1]


def padded(value, axis, draw):
    widths = [(0, 0)] * value.ndim
    widths[axis] = (0, value.shape[axis])
    return jnp.pad(value, widths)


def convolved(value, axis, draw):
    """Windows over the first axis, features in the second, in one group or two."""
    if value.ndim != 2 or value.shape[0] < 2:
        return jnp.cos(value)
    groups = 2 if value.shape[1] % 2 == 0 and draw.integers(2) else 1
    width = int(draw.integers(1, 3))
    filters = draw.normal(size=(width, value.shape[1] // groups, 4))
    return lax.conv_general_dilated(
        value[None],
        filters.astype(np.float32),
        (int(draw.integers(1, 3)),),
        "VALID",
        dimension_numbers=("NWC", "WIO", "NWC"),
        feature_group_count=groups,
    )[0]


STEPS = (
    merge,
    merge,
    cut,
    cut,
    thin,
    halve,
    project,
    gram,
    total,
    looped,
    scanned,
    padded,
    convolved,
    lambda value, axis, draw: value.transpose(draw.permutation(value.ndim)),
    lambda value, axis, draw: value - value.max(axis, keepdims=True),
    lambda value, axis, draw: jnp.cumsum(value, axis),
    lambda value, axis, draw: jnp.flip(value, axis),
    lambda value, axis, draw: jnp.concatenate([value, jnp.sin(value)], axis),
)


def random_program(seed):
    def program(x):
        draw = np.random.default_rng(seed)
        value = x
        for _ in range(int(draw.integers(2, 7))):
            if value.size > MOST_ELEMENTS:
                value = total(value, value.ndim - 1, draw)
            step = STEPS[draw.integers(len(STEPS))]
            value = step(value, int(draw.integers(value.ndim)), draw)
        return value

    return program


def changes(program, x):
    """Says of each example and output element whether the one changes the other."""
    compiled = jax.jit(program)
    before = np.asarray(compiled(x))
    changed = []
    for example in range(N_EXAMPLES):
        other = x.copy()
        other[example] += normal(*x.shape[1:], seed=example)
        difference = np.abs(np.asarray(compiled(other)) - before)
        changed.append(difference > 1e-5 * np.abs(before).max())
    return np.stack(changed)


@pytest.mark.parametrize("seed", range(24))
def test_no_random_program_is_proven_what_it_is_not(seed):
    program, x = random_program(seed), normal(*SHAPE, seed=seed)
    body = flatten(jax.make_jaxpr(program)(x))
    own = Factor(position=0, before=1, count=N_EXAMPLES, after=1)
    (state,) = walk(body, [Held(examples=(own,))], N_EXAMPLES)
    if not isinstance(state, Held) or state.doubt is not None:
        return
    changed = changes(program, x)
    indices = np.indices(changed.shape[1:])
    for example in range(N_EXAMPLES):
        allowed = np.zeros(changed.shape[1:], bool)
        for factor in state.examples:
            allowed |= indices[factor.position] // factor.after % N_EXAMPLES == example
        assert not (changed[example] & ~allowed).any()


def test_enough_random_programs_are_proven_independent():
    """The test above is not empty."""
    own = Factor(position=0, before=1, count=N_EXAMPLES, after=1)
    states = [
        walk(
            flatten(jax.make_jaxpr(random_program(seed))(normal(*SHAPE))),
            [Held(examples=(own,))],
            N_EXAMPLES,
        )[0]
        for seed in range(24)
    ]
    proven = [
        state
        for state in states
        if isinstance(state, Held) and state.doubt is None and state.examples
    ]
    assert len(proven) >= 6


def test_a_primitive_with_two_rules_is_a_bug():
    family = elementwise.rules()
    with pytest.raises(InternalError, match="two axis rules for `abs`"):
        assemble([family, family[:1]])


def test_the_table_has_the_common_primitives():
    for primitive in (primitives.add_p, primitives.dot_general_p, primitives.gather_p):
        assert primitive in axis_rules()
