"""Prefixes of a leaf, one equation at a time and in a row, against their Jacobian."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from ntkplan._jax import primitives
from ntkplan.rules.prefix import PREFIX_RULES
from tests.rules.checks import OpaqueError, carried_maps, check_prefix
from tests.rules.traced import Traced, numbers

LINEAR = {
    "itself": (lambda w: w * 1.0, (5, 3)),
    "transpose": (lambda w: w.transpose(2, 0, 1), (2, 5, 3)),
    "transpose_of_one": (lambda w: w.T, (1, 5)),
    "split": (lambda w: w.reshape(2, 3, 5), (6, 5)),
    "merge": (lambda w: w.reshape(15, 2), (3, 5, 2)),
    "split_and_merge": (lambda w: w.reshape(3, 2 * 5), (6, 5)),
    "merge_after_transpose": (lambda w: w.transpose(2, 0, 1).reshape(10, 3), (2, 3, 5)),
    "transposing_reshape": (lambda w: lax.reshape(w, (15, 2), (2, 0, 1)), (5, 2, 3)),
    "ones_come_and_go": (lambda w: w.reshape(1, 3, 1, 5), (3, 1, 5)),
    "to_a_scalar": (lambda w: w.reshape(()), (1, 1)),
    "from_a_scalar": (lambda w: w.reshape(1, 1), ()),
    "squeeze": (lambda w: w.squeeze((0, 2)), (1, 3, 1, 5)),
    "expand": (lambda w: w[None, :, None], (3,)),
    "broadcast": (lambda w: jnp.broadcast_to(w, (2, 3, 5)), (3, 5)),
    "broadcast_ones": (lambda w: jnp.broadcast_to(w, (4, 3, 5)), (1, 3, 1)),
    "broadcast_scalar": (lambda w: jnp.full((3, 5), w), ()),
    "broadcast_merged": (lambda w: jnp.broadcast_to(w, (2, 3)).reshape(6), (3,)),
    "repeat": (lambda w: jnp.repeat(w, 3, axis=0), (5, 2)),
    "tile": (lambda w: jnp.tile(w, (2, 3)), (5, 2)),
    "cast_back": (lambda w: w.astype(jnp.float64), (5,)),
    "copy": (lambda w: jnp.copy(w), (5,)),
    "negative": (lambda w: -w, (5, 3)),
    "doubled": (lambda w: w + w, (5, 3)),
    "gone": (lambda w: w - w, (5,)),
    "symmetric": (lambda w: w + w.T, (5, 5)),
    "antisymmetric": (lambda w: (w - w.T) / 2, (5, 5)),
    "plus_a_number": (lambda w: 3.0 - w, (5,)),
    "times_a_number": (lambda w: 0.5 * w * 3.0, (5,)),
    "over_a_number": (lambda w: w / 4.0, (5,)),
    "slice": (lambda w: w[2:5], (7, 3)),
    "slice_with_steps": (lambda w: lax.slice(w, (1, 0), (7, 3), (2, 2)), (7, 3)),
    "slice_of_merged": (lambda w: w.reshape(-1)[6:9], (4, 3)),
    "rows_of_merged": (lambda w: w.reshape(12)[3:9], (4, 3)),
    "slice_of_a_broadcast": (lambda w: jnp.broadcast_to(w, (5, 3))[1:3], (3,)),
    "one_entry": (lambda w: lax.slice(w, (3, 1), (4, 2)), (5, 3)),
    "nothing_and_all": (lambda w: jnp.concatenate([w[:0], w, w[3:]]), (3, 2)),
    "halves_added": (lambda w: w[:3] + 2 * w[3:], (6, 2)),
    "dynamic_slice_at_a_number": (
        lambda w: lax.dynamic_slice(w, (2, 0), (3, 2)),
        (7, 3),
    ),
    "reverse": (lambda w: lax.rev(w, (0, 1)), (3, 5)),
    "reverse_of_slice": (lambda w: lax.rev(w[1:4], (0,)), (7, 2)),
    "every_second_backwards": (lambda w: w[::-2], (7, 2)),
    "reverse_of_merged": (lambda w: lax.rev(w.reshape(6, 5), (0,)), (2, 3, 5)),
    "pad": (lambda w: lax.pad(w, 0.0, ((1, 2, 0), (0, 1, 0))), (3, 5)),
    "pad_between": (lambda w: lax.pad(w, 0.0, ((1, 0, 2), (0, 0, 1))), (3, 2)),
    "pad_of_pad": (
        lambda w: lax.pad(lax.pad(w, 0.0, ((1, 1, 1),)), 0.0, ((2, 0, 2),)),
        (3,),
    ),
    "concatenate": (lambda w: jnp.concatenate([jnp.ones((2, 3)), w]), (5, 3)),
    "concatenate_itself": (lambda w: jnp.concatenate([w, 2 * w], axis=1), (5, 3)),
    "stack": (lambda w: jnp.stack([w, jnp.ones(3), w]), (3,)),
    "stack_last": (lambda w: jnp.stack([jnp.ones((3, 2)), w], axis=-1), (3, 2)),
    "stack_of_one": (lambda w: jnp.stack([w], axis=1), (3, 2)),
    "one_of_a_stack": (lambda w: jnp.stack([-w, jnp.ones(3), w], axis=1)[:, 2], (3,)),
    "tile_rows": (lambda w: jnp.tile(w, (3, 1)), (1, 5)),
    "tile_then_split": (lambda w: jnp.tile(w, 6).reshape(2, 3, 5), (5,)),
    "roll": (lambda w: jnp.roll(w, 2, axis=0), (7, 2)),
    "cut_and_joined": (lambda w: jnp.concatenate([w[4:], w[:4]]), (7, 2)),
    "cut_in_the_padding": (lambda w: jnp.pad(w, (2, 2))[:2] + 1.0, (3,)),
    "cut_to_itself": (lambda w: jnp.pad(w, (2, 2))[2:5], (3,)),
    "update_a_slice": (
        lambda w: lax.dynamic_update_slice(jnp.ones((5, 4)), w, (1, 2)),
        (3, 2),
    ),
    "update_clamped": (
        lambda w: lax.dynamic_update_slice(jnp.ones(5), w, (4,)),
        (3,),
    ),
    "updated": (
        lambda w: lax.dynamic_update_slice(w, jnp.ones((2, 2)), (1, 0)),
        (5, 3),
    ),
    "updated_with_itself": (
        lambda w: lax.dynamic_update_slice(w, 2 * w[:2], (3,)),
        (5,),
    ),
    "set_rows": (lambda w: w.at[np.asarray([1, 3])].set(0.0), (5, 2)),
    "set_entry": (lambda w: w.at[2, 1].set(7.0), (5, 2)),
    "set_into": (lambda w: jnp.zeros((5, 2)).at[3].set(w), (2,)),
    "set_into_rows": (
        lambda w: jnp.zeros((7, 2)).at[np.asarray([4, 1])].set(w, unique_indices=True),
        (2, 2),
    ),
    "add_at": (lambda w: jnp.ones((7, 2)).at[np.asarray([4, 1, 4])].add(w), (3, 2)),
    "added_at": (lambda w: w.at[np.asarray([4, 1, 4])].add(1.0), (7, 2)),
    "mask": (lambda w: jnp.where(np.tri(5, dtype=bool), w, 0.0), (5, 5)),
    "mask_otherwise": (lambda w: jnp.where(np.tri(5, dtype=bool), -1.0, w), (5, 5)),
    "mask_of_a_row": (lambda w: jnp.where(np.arange(5) > 2, w, 0.0), (3, 5)),
    "either_half": (lambda w: jnp.where(np.tri(5, dtype=bool), w, 2 * w.T), (5, 5)),
    "tril": (jnp.tril, (5, 5)),
    "sum": (lambda w: w.sum(), (3, 5)),
    "sum_over_axis": (lambda w: w.sum(1), (3, 5, 2)),
    "sum_of_broadcast": (lambda w: jnp.broadcast_to(w, (4, 3)).sum(0), (3,)),
    "sum_of_all_that_is_broadcast": (lambda w: jnp.broadcast_to(w, (4, 3)).sum(), (3,)),
    "sum_of_ones": (lambda w: w.sum(0), (1, 3)),
    "mean": (lambda w: w.mean((0, 2)), (3, 5, 2)),
    "centred": (lambda w: w - w.mean(0), (5, 3)),
    "rows_by_index": (lambda w: w[np.asarray([3, 1, 1])], (5, 2)),
    "columns_by_index": (lambda w: w[:, np.asarray([[0, 2], [2, 1]])], (2, 5)),
    "row_by_index_out_of_bounds": (
        lambda w: w.at[np.asarray([1, 9])].get(mode="fill", fill_value=0.0),
        (5, 2),
    ),
    "vmapped_product": (lambda w: jax.vmap(lambda a: a * 2.0)(w), (5, 3)),
}

WITH_OTHERS = {
    "times": (lambda w, a: w * a, (5, 3), (5, 3)),
    "times_a_row": (lambda w, a: w * a, (5, 3), (3,)),
    "times_a_column": (lambda w, a: a * w, (5, 3), (5, 1)),
    "times_an_entry": (lambda w, a: a * w, (5, 3), ()),
    "entry_times": (lambda w, a: a * w, (), (5, 3)),
    "row_times": (lambda w, a: w * a, (3,), (5, 3)),
    "divided": (lambda w, a: w / a, (5, 3), (5, 3)),
    "divides": (lambda w, a: a / w, (5, 3), (5, 3)),
    "times_twice": (lambda w, a: w * a * a[0], (5, 3), (5, 3)),
    "times_and_turned": (lambda w, a: (w * a).T.reshape(-1), (5, 3), (5, 3)),
    "times_then_split": (lambda w, a: (w * a).reshape(2, 3, 5), (6, 5), (6, 5)),
    "times_then_summed": (lambda w, a: (w * a).sum(0), (5, 3), (5, 3)),
    "times_then_sliced": (lambda w, a: (w * a)[1:4, ::2], (5, 3), (5, 3)),
    "times_then_turned": (lambda w, a: lax.rev(w * a, (0, 1)), (5, 3), (5, 3)),
    "times_a_row_then_cut": (lambda w, a: lax.rev(w * a, (1,))[2, 1:], (5, 3), (3,)),
    "merged_then_cut": (lambda w, a: (w * a).reshape(15)[6:9], (5, 3), (5, 3)),
    "rows_of_merged_scaled": (lambda w, a: (w * a).reshape(12)[3:9], (4, 3), (4, 3)),
    "product_then_cut": (lambda w, a: (w @ a)[1:3, 2:7:2], (5, 3), (3, 7)),
    "product_then_turned": (lambda w, a: lax.rev(w @ a, (0, 1)), (5, 3), (3, 7)),
    "halves_of_a_product": (
        lambda w, a: (w @ a)[:, :4] - (w @ a)[:, 4:],
        (5, 3),
        (3, 8),
    ),
    "times_then_padded": (lambda w, a: jnp.pad(w * a, (1, 2)), (5,), (5,)),
    "from_the_left": (lambda w, a: a @ w, (5, 3), (7, 5)),
    "from_the_right": (lambda w, a: w @ a, (5, 3), (3, 4)),
    "from_both_sides": (lambda w, a: a @ w @ a[:3], (5, 3), (7, 5)),
    "outer": (lambda w, a: jnp.outer(w, a), (5,), (3,)),
    "batched": (lambda w, a: jnp.einsum("bik,bkj->bij", w, a), (2, 3, 5), (2, 5, 7)),
    "batched_left": (
        lambda w, a: jnp.einsum("bik,bkj->bij", a, w),
        (2, 3, 5),
        (2, 7, 3),
    ),
    "batched_transposed": (
        lambda w, a: jnp.einsum("ikb,jbk->jbi", w, a),
        (3, 5, 2),
        (7, 2, 5),
    ),
    "contracted_twice": (
        lambda w, a: jnp.einsum("ijk,kjl->il", w, a),
        (2, 3, 5),
        (5, 3, 17),
    ),
    "contracted_with_ones": (
        lambda w, a: jnp.einsum("ij,jk->ik", w, a),
        (5, 1),
        (1, 3),
    ),
    "of_a_broadcast": (
        lambda w, a: jnp.broadcast_to(w, (5, 3)) @ a,
        (3,),
        (3, 4),
    ),
    "sum_over_a_broadcast": (
        lambda w, a: a @ jnp.broadcast_to(w, (5, 3)),
        (3,),
        (7, 5),
    ),
    "added": (lambda w, a: w + a, (5, 3), (5, 3)),
    "subtracted_from": (lambda w, a: a - w, (3,), (5, 3)),
    "low_rank": (lambda w, a: 0.1 * w @ a + 1.0, (5, 2), (2, 3)),
    "padded_then_free_axis": (
        lambda w, a: jnp.pad(w, ((0, 0), (1, 1))).T @ a,
        (5, 3),
        (5, 7),
    ),
    "chosen": (lambda w, a: jnp.where(a > 0, w, a), (5, 3), (5, 3)),
    "greater": (lambda w, a: jnp.maximum(w, a), (5, 3), (5, 3)),
}

NONLINEAR = {
    "exp": (jnp.exp, (5, 3)),
    "exp_then_cut": (lambda w: jnp.exp(w)[::-1, 1:], (5, 3)),
    "one_of_exp": (lambda w: jnp.exp(w)[2, 1], (5, 3)),
    "mask_then_turned": (lambda w: lax.rev(jnp.tril(w), (0,)), (5, 5)),
    "exp_of_split": (lambda w: jnp.exp(w).reshape(2, 3, 5), (6, 5)),
    "tanh_of_half": (lambda w: jnp.tanh(w / 2), (5,)),
    "softplus": (jax.nn.softplus, (5,)),
    "sigmoid_then_scaled": (lambda w: 3.0 * jax.nn.sigmoid(w), (5, 3)),
    "square": (lambda w: w**2, (5, 3)),
    "times_itself": (lambda w: w * w, (5, 3)),
    "product_with_itself": (lambda w: w @ w.T, (5, 3)),
    "of_itself_over_itself": (lambda w: w / jnp.exp(w), (5,)),
    "clipped": (lambda w: jnp.clip(w, -0.5, 0.5), (5, 3)),
    "relu_jvp": (jax.nn.relu, (5, 3)),
    "silu": (jax.nn.silu, (5, 3)),
    "norm": (lambda w: jnp.sqrt((w**2).sum()), (5, 3)),
    "normalised": (lambda w: w / jnp.sqrt((w**2).sum(0) + 1e-3), (5, 3)),
    "standardised": (
        lambda w: (w - w.mean(0)) / jnp.sqrt(((w - w.mean(0)) ** 2).mean(0) + 1e-3),
        (5, 3),
    ),
    "softmax": (lambda w: jnp.exp(w) / jnp.exp(w).sum(-1, keepdims=True), (3, 5)),
}


@pytest.mark.parametrize("name", LINEAR)
def test_linear(name):
    function, shape = LINEAR[name]
    check_prefix(function, numbers(*shape))


@pytest.mark.parametrize("name", WITH_OTHERS)
def test_with_arrays_without_data(name):
    function, shape, other = WITH_OTHERS[name]
    check_prefix(function, numbers(*shape), numbers(*other, seed=1))


@pytest.mark.parametrize("name", NONLINEAR)
def test_nonlinear(name):
    function, shape = NONLINEAR[name]
    check_prefix(function, numbers(*shape))


INDEXED = {
    "dynamic_slice": (lambda w, at: lax.dynamic_slice_in_dim(w, at, 3, 0), (7, 2)),
    "one_row": (lambda w, at: lax.dynamic_slice_in_dim(w, at, 1, 0), (7, 2)),
    "row": (lambda w, at: w[at], (7, 2)),
    "the_one_row": (lambda w, at: lax.dynamic_slice_in_dim(w, at, 1, 0), (1, 2)),
    "column": (lambda w, at: w[:, at].T, (2, 7)),
    "cut_rows": (lambda w, at: w[jnp.stack([at, at, at - 1])][::-2], (7, 2)),
    "cut_of_added": (lambda w, at: jnp.zeros((7, 2)).at[at].set(w)[:, 1:], (2,)),
    "row_of_product": (lambda w, at: (w * 2.0)[at] * 3.0, (7, 2)),
    "row_of_transposed": (lambda w, at: w.T[at], (2, 7)),
    "row_of_exp": (lambda w, at: jnp.exp(w)[at], (7, 2)),
    "exp_of_row": (lambda w, at: jnp.exp(w[at]), (7, 2)),
    "rows": (lambda w, at: w[jnp.stack([at, at, at - 1])], (7, 2)),
    "set_at": (lambda w, at: jnp.zeros((7, 2)).at[at].set(w), (2,)),
    "add_at": (lambda w, at: jnp.zeros((7, 2)).at[jnp.stack([at, at])].add(w), (2, 2)),
    "overwritten_at": (lambda w, at: w.at[at].set(0.0), (7, 2)),
    "updated_at": (
        lambda w, at: lax.dynamic_update_slice_in_dim(w, jnp.ones((2, 2)), at, 0),
        (7, 2),
    ),
}


@pytest.mark.parametrize("at", [5, -1])
@pytest.mark.parametrize("name", INDEXED)
def test_at_an_index_without_data(name, at):
    function, shape = INDEXED[name]
    check_prefix(function, numbers(*shape), np.asarray(at, np.int32))


WHOLE = {
    name: LINEAR[name] for name in ("slice", "halves_added", "cut_and_joined", "roll")
} | {
    "overlapping": (lambda w: w[:4] + w[3:], (7, 2)),
    "there_and_back": (lambda w: w + lax.rev(w, (0,)), (5, 3)),
    "steps": (lambda w: w[::3], (7, 2)),
    "one_row": (lambda w: w[2], (7, 2)),
    "second_axis": (lambda w: w[:, 1:3] * 2.0, (2, 5)),
    "all_of_it": (lambda w: lax.slice(w, (0, 0), (3, 2)), (3, 2)),
}


@pytest.mark.parametrize("name", WHOLE)
def test_slices_as_look_ups_of_the_whole(name):
    function, shape = WHOLE[name]
    maps = check_prefix(function, numbers(*shape), whole=True)
    for axis_map in maps:
        assert axis_map.offsets == (0,) * len(shape)


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (lambda w: jnp.linalg.inv(w), (3, 3)),
        (lambda w: jnp.ones(5) @ w, (5, 3)),
        (lambda w: jnp.cumsum(w), (5,)),
        (lambda w: jnp.sort(w), (5,)),
        (lambda w: w.reshape(3, 4), (4, 3)),
        (lambda w: jnp.pad(w, (1, 1)).reshape(7, 1)[:3], (5,)),
        (lambda w: jnp.pad(w, (1, 1)) @ jnp.ones(7), (5,)),
        (lambda w: jnp.pad(w, (1, 1)).sum(), (5,)),
        (lambda w: jnp.ones(5).at[np.asarray([1, 1])].set(w), (2,)),
    ],
)
def test_what_has_no_map(function, shape):
    with pytest.raises(OpaqueError):
        carried_maps(Traced(function, numbers(*shape)))


def test_every_rule_is_tried():
    """Every primitive with a rule of its own stands in some prefix above."""
    seen = {primitives.add_jaxvals_p}
    for table in (LINEAR, WITH_OTHERS, NONLINEAR, INDEXED):
        for function, *shapes in table.values():
            arrays = [numbers(*shape) for shape in shapes]
            if table is INDEXED:
                arrays.append(np.asarray(1, np.int32))
            equations = Traced(function, *arrays).body.equations
            seen |= {equation.primitive for equation in equations}
    assert seen >= PREFIX_RULES.keys()
