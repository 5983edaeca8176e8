import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import ntkplan
from ntkplan._jax import Var
from ntkplan.cost import symbols
from ntkplan.cost.symbols import evaluate
from ntkplan.cost.work import OperationKind, Work
from ntkplan.errors import UndecidedIndependenceWarning
from ntkplan.ir.equation import Body, Equation
from ntkplan.rules.equation_work import (
    count_forward,
    count_push,
    count_sweep,
    estimated,
    is_estimate,
)
from ntkplan.rules.work.loops import ASSUMED_TRIPS
from ntkplan.rules.work.table import work_rules
from ntkplan.trace.jaxpr import flatten
from tests.cases import PLAIN_CASES, problem

N, OUTPUTS = symbols.n1, symbols.n_outputs


def forward_work(equations, *, n, **options) -> Work:
    return count_forward(equations, **options).at(n=n)


def sweep_work(equations, active, *, n, n_outputs, **options) -> Work:
    return count_sweep(equations, active, **options).at(n=n, columns=n_outputs)


def push_work(equations, active, *, n, columns, **options) -> Work:
    return count_push(equations, active, **options).at(n=n, columns=columns)


def body_of(f, *arguments) -> Body:
    return flatten(jax.make_jaxpr(f)(*arguments))


def reached(body: Body, start) -> set[Var]:
    """Returns the floating-point variables that depend on some inputs."""
    found = set(start)
    for equation in body.equations:
        if found.intersection(equation.reads):
            found.update(
                item for item in equation.outputs if "float" in item.aval.dtype.name
            )
    return found


def only_equation(f, *arguments) -> Equation:
    (equation,) = body_of(f, *arguments).equations
    return equation


def forward_of(equation: Equation):
    """Returns the operations of one evaluation of an equation."""
    return count_forward([equation], shared=equation.reads).at(n=1).operations


def pullback_of(equation: Equation, operand: int):
    """Returns the operations of pulling one cotangent back to an operand."""
    active = [equation.inputs[operand], *equation.outputs]
    return count_sweep([equation], active, shared=equation.reads).at(n=1).operations


def push_of(equation: Equation, operand: int):
    """Returns the operations of pushing one tangent of an operand forward."""
    active = [equation.inputs[operand], *equation.outputs]
    return count_push([equation], active, shared=equation.reads).at(n=1).operations


def zeros(*shape):
    return jnp.zeros(shape, jnp.float32)


def flops(operations) -> int:
    return sum(operation.flops for operation in operations)


def xla_flops(f, *arguments) -> float:
    return jax.jit(f).lower(*arguments).compile().cost_analysis()["flops"]


def dot(dimension_numbers):
    return lambda a, b: lax.dot_general(a, b, dimension_numbers)


def convolution(**options):
    def f(x, w):
        given = {"window_strides": (1, 1), "padding": "SAME", **options}
        return lax.conv_general_dilated(
            x, w, dimension_numbers=("NHWC", "HWIO", "NHWC"), **given
        )

    return f


PRODUCTS = {
    "matrix": (dot((((1,), (0,)), ((), ()))), zeros(5, 7), zeros(7, 11)),
    "vector": (dot((((0,), (1,)), ((), ()))), zeros(7), zeros(11, 7)),
    "batched": (dot((((2,), (1,)), ((0,), (0,)))), zeros(3, 5, 7), zeros(3, 7, 2)),
    "two contracted": (
        dot((((0, 2), (1, 2)), ((), ()))),
        zeros(3, 5, 7),
        zeros(4, 3, 7),
    ),
    "batch inside": (dot((((0,), (0,)), ((1,), (1,)))), zeros(6, 5, 7), zeros(6, 5, 4)),
    "same": (convolution(), zeros(2, 9, 8, 3), zeros(3, 3, 3, 5)),
    "valid, stride": (
        convolution(padding="VALID", window_strides=(2, 1)),
        zeros(2, 9, 8, 3),
        zeros(3, 2, 3, 5),
    ),
    "groups": (
        convolution(feature_group_count=3),
        zeros(2, 9, 8, 6),
        zeros(3, 3, 2, 12),
    ),
    "dilated kernel": (
        convolution(rhs_dilation=(2, 2)),
        zeros(2, 9, 8, 3),
        zeros(3, 3, 3, 5),
    ),
    "dilated image": (
        convolution(lhs_dilation=(2, 1), padding=((1, 2), (0, 1))),
        zeros(2, 9, 8, 3),
        zeros(3, 3, 3, 5),
    ),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_count_what_xla_counts(name):
    f, left, right = PRODUCTS[name]
    equation = only_equation(f, left, right)
    assert not is_estimate(equation)
    counted = flops(forward_of(equation))
    assert counted == pytest.approx(xla_flops(f, left, right), rel=1e-3)


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("operand", [0, 1])
def test_derivatives_of_products_count_what_xla_counts(name, operand):
    f, left, right = PRODUCTS[name]
    equation = only_equation(f, left, right)

    def of_one(other):
        return (
            (lambda value: f(value, other))
            if operand == 0
            else lambda value: f(other, value)
        )

    value, other = (left, right) if operand == 0 else (right, left)
    cotangent = jnp.ones_like(f(left, right))
    pulled = xla_flops(
        lambda v, o, c: jax.vjp(of_one(o), v)[1](c)[0], value, other, cotangent
    )
    if name == "vector" and operand == 1:
        pulled *= 2  # XLA writes an outer product without its additions to zero.
    assert flops(pullback_of(equation, operand)) == pytest.approx(pulled, rel=1e-3)
    pushed = xla_flops(
        lambda t, o: jax.jvp(of_one(o), (jnp.zeros_like(t),), (t,))[1], value, other
    )
    assert flops(push_of(equation, operand)) == pytest.approx(pushed, rel=1e-3)


def test_a_product_says_how_large_each_of_its_products_is():
    f, left, right = PRODUCTS["batched"]
    (operation,) = forward_of(only_equation(f, left, right))
    sizes = operation.batch, operation.m, operation.n, operation.k
    assert (operation.kind, *sizes) == (OperationKind.BATCHED_DOT, 3, 5, 2, 7)
    (operation,) = pullback_of(only_equation(f, left, right), 1)
    assert (operation.batch, operation.m, operation.n, operation.k) == (3, 7, 2, 5)


def test_operands_whose_axes_are_mixed_are_copied_first():
    f, left, right = PRODUCTS["batch inside"]
    kinds = [item.kind for item in forward_of(only_equation(f, left, right))]
    assert kinds.count(OperationKind.TRANSPOSE) == 2
    f, left, right = PRODUCTS["matrix"]
    made = forward_of(only_equation(f, left, right))
    assert [item.kind for item in made] == [OperationKind.DOT]


def mlp(params, x):
    for weights, bias in params:
        x = jnp.tanh(x @ weights + bias)
    return x


def mlp_body():
    params = [(zeros(6, 6), zeros(6))] * 3
    body = body_of(mlp, params, zeros(1, 6))
    return body, body.inputs[:-1], reached(body, body.inputs[-1:])


@pytest.mark.parametrize("explicit", [True, False])
def test_examples_become_rows_of_one_product(explicit):
    body, shared, _ = mlp_body()
    work = forward_work(body.equations, n=N, shared=shared if explicit else None)
    (product,) = [item for item in work.operations if item.kind is OperationKind.DOT]
    assert (product.m, product.n, product.k, product.repeats) == (N, 6, 6, 3)
    assert product.flops == 3 * 72 * N
    assert product.bytes_read == 3 * (24 * N + 144)
    assert work.transcendentals == 18 * N


def test_cotangents_become_rows_too():
    body, shared, active = mlp_body()
    work = sweep_work(body.equations, active, n=N, n_outputs=OUTPUTS, shared=shared)
    (product,) = [item for item in work.operations if item.kind is OperationKind.DOT]
    assert product.m == N * OUTPUTS
    assert product.flops == 3 * 72 * N * OUTPUTS
    assert not any("batched" in item.kind for item in work.operations)


def test_gradients_of_weights_are_one_product_for_each_example():
    body, shared, active = mlp_body()
    active = active | {shared[0]}
    work = sweep_work(body.equations, active, n=N, n_outputs=OUTPUTS, shared=shared)
    (product,) = [
        item for item in work.operations if item.kind is OperationKind.BATCHED_DOT
    ]
    assert (product.batch, product.m, product.n, product.k) == (N, 6, 6 * OUTPUTS, 1)


def test_a_push_counts_columns():
    body, shared, active = mlp_body()
    work = push_work(body.equations, active, n=N, columns=7, shared=shared)
    (product,) = [item for item in work.operations if item.kind is OperationKind.DOT]
    assert product.m == 7 * N


def test_what_is_shared_is_counted_once():
    def f(weights, x):
        return x @ jnp.tanh(weights)

    body = body_of(f, zeros(6, 6), zeros(1, 6))
    work = forward_work(body.equations, n=N, shared=body.inputs[:1])
    assert work.transcendentals == 36


def test_numbers_of_another_size_are_counted_as_such():
    body, shared, _ = mlp_body()
    single = forward_work(body.equations, n=4, shared=shared)
    double = forward_work(body.equations, n=4, shared=shared, itemsize=8)
    assert double.bytes_read == 2 * single.bytes_read
    assert double.peak_bytes == 2 * single.peak_bytes
    assert double.flops == single.flops


def test_elementwise_chains_write_only_their_end():
    body = body_of(lambda x: jnp.tanh(jnp.reshape(x * 2 + 1, (5, 4))) * 3, zeros(20))
    work = forward_work(body.equations, n=N, shared=())
    (operation,) = work.operations
    assert operation.flops == 60 * N
    assert operation.transcendentals == 20 * N
    assert operation.bytes_read == operation.bytes_written_fresh == 80 * N
    assert operation.repeats == 1


def test_a_reduction_swallows_what_it_sums():
    body = body_of(lambda x, y: jnp.sum(x * y, axis=1), zeros(30, 8), zeros(30, 8))
    (operation,) = forward_work(body.equations, n=N, shared=()).operations
    assert operation.kind is OperationKind.REDUCTION_MINOR
    assert operation.bytes_read == 2 * 960 * N
    assert operation.bytes_written_fresh == 120 * N
    assert (operation.m, operation.n, operation.k) == (30 * N, 1, 8)


@pytest.mark.parametrize(
    ("axes", "kind", "sizes"),
    [
        ((2,), OperationKind.REDUCTION_MINOR, (12, 1, 5)),
        ((1, 2), OperationKind.REDUCTION_MINOR, (3, 1, 20)),
        ((0,), OperationKind.REDUCTION_MAJOR, (1, 20, 3)),
        ((1,), OperationKind.REDUCTION_MAJOR, (3, 5, 4)),
        ((0, 1, 2), OperationKind.REDUCTION_MINOR, (1, 1, 60)),
    ],
)
def test_the_axis_of_a_reduction_is_told(axes, kind, sizes):
    equation = only_equation(
        lambda x: lax.reduce_sum_p.bind(x, axes=axes), zeros(3, 4, 5)
    )
    (operation,) = forward_of(equation)
    assert operation.kind is kind
    assert (operation.m, operation.n, operation.k) == sizes


def test_what_a_transcendental_reads_is_not_charged_twice():
    body = body_of(jax.nn.softmax, zeros(64))
    work = forward_work(body.equations, n=1, shared=())
    assert work.transcendentals == 64
    assert work.bytes_read + work.bytes_written <= 6 * 256


def step(weights, carry, x):
    return jnp.tanh(carry @ weights + x)


def recurrence(weights, x):
    def turn(carry, item):
        carry = step(weights, carry, item)
        return carry, carry

    return lax.scan(turn, zeros(5), x)


def test_a_scan_counts_every_trip_where_xla_counts_one():
    body = body_of(recurrence, zeros(5, 5), zeros(12, 5))
    (scan,) = [item for item in body.equations if item.primitive.name == "scan"]
    operations = forward_of(scan)
    by_hand = 12 * (2 * 5 * 5 + 5)
    assert flops(operations) == by_hand
    assert xla_flops(recurrence, zeros(5, 5), zeros(12, 5)) < by_hand / 2
    (loop,) = [item for item in operations if item.kind is OperationKind.LOOP]
    assert loop.repeats == 12
    (product,) = [item for item in operations if item.kind is OperationKind.DOT]
    assert (product.repeats, product.flops) == (12, 12 * 50)


def test_a_pull_back_through_a_scan_counts_every_trip():
    body = body_of(recurrence, zeros(5, 5), zeros(12, 5))
    shared, active = body.inputs[:1], reached(body, body.inputs)
    work = sweep_work(body.equations, active, n=1, n_outputs=1, shared=shared)
    products = [item for item in work.operations if "dot" in item.kind]
    # Once for the carry, once for the weights, whose twelve parts are added up.
    assert flops(products) == 2 * 12 * 50
    unrolled = body_of(
        lambda w, x: [c := zeros(5), *[c := step(w, c, item) for item in x]][-1],
        zeros(5, 5),
        zeros(12, 5),
    )
    same = sweep_work(
        unrolled.equations,
        reached(unrolled, unrolled.inputs),
        n=1,
        n_outputs=1,
        shared=unrolled.inputs[:1],
    )
    assert flops(products) == pytest.approx(
        flops(item for item in same.operations if "dot" in item.kind), rel=0.1
    )


def test_a_carry_that_meets_examples_differs_by_example():
    def f(weights, x):
        return lax.scan(lambda c, _: (c @ weights + x, None), zeros(5), None, length=3)[
            0
        ]

    body = body_of(f, zeros(5, 5), zeros(5))
    work = forward_work(body.equations, n=N, shared=body.inputs[:1])
    (product,) = [item for item in work.operations if item.kind is OperationKind.DOT]
    assert product.flops == 150 * N
    assert N in (product.m, product.n)


def test_a_while_of_unknown_length_is_an_estimate():
    def f(x):
        return lax.while_loop(lambda v: jnp.sum(v) < 9, lambda v: v * 2, x)

    equation = only_equation(f, zeros(8))
    assert is_estimate(equation)
    assert flops(forward_of(equation)) >= ASSUMED_TRIPS * 16


def test_a_condition_takes_its_dearest_branch_or_all_of_them():
    def f(which, x):
        return lax.cond(which, lambda v: v @ zeros(8, 8), lambda v: v * 2, x)

    body = body_of(f, True, zeros(8))
    alone = forward_work(body.equations, n=4, shared=body.inputs[:1])
    assert alone.flops == 4 * 128
    each = forward_work(body.equations, n=4, shared=())
    assert each.flops == 4 * (128 + 8)


def test_a_primitive_without_a_rule_is_estimated_and_never_free():
    def f(x):
        kind = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return jax.pure_callback(lambda v: np.asarray(v), kind, x)

    equation = only_equation(f, zeros(8))
    assert is_estimate(equation)
    assert flops(forward_of(equation)) > 0
    assert flops(pullback_of(equation, 0)) > 0
    assert flops(push_of(equation, 0)) > 0


def test_an_estimate_inside_of_a_loop_makes_the_loop_one():
    def turn(carry, _):
        return jax.pure_callback(
            lambda v: v, jax.ShapeDtypeStruct((8,), "float32"), carry
        ), None

    equation = only_equation(lambda x: lax.scan(turn, x, None, length=3)[0], zeros(8))
    assert is_estimate(equation)
    assert estimated(equation) == {"pure_callback"}


def test_a_plan_says_that_a_callback_is_guessed():
    @jax.custom_jvp
    def squared(v):
        kind = jax.ShapeDtypeStruct(v.shape, v.dtype)
        return jax.pure_callback(np.square, kind, v, vmap_method="sequential")

    @squared.defjvp
    def _(primals, tangents):
        return squared(*primals), 2 * primals[0] * tangents[0]

    x = jax.ShapeDtypeStruct((5, 4), jnp.float32)
    with pytest.warns(UndecidedIndependenceWarning):
        plan = ntkplan.plan(lambda w, x: squared(x @ w), zeros(4, 3), x)
    (note,) = plan.notes
    assert note.startswith("the work of pure_callback is a guess that may be far too")
    assert "upper" not in note


@pytest.mark.parametrize("case", PLAIN_CASES, ids=lambda case: case.name)
def test_every_primitive_of_typical_models_has_a_rule(case):
    f, params, x1, _ = problem(case.name)
    one = jax.tree.map(lambda leaf: leaf[:1], x1)
    body = body_of(f, params, one)
    assert not any(map(is_estimate, body.equations))
    n_leaves = len(jax.tree.leaves(params))
    shared = body.inputs[:n_leaves]
    active = reached(body, shared)
    forward = forward_work(body.equations, n=N, shared=shared)
    sweep = sweep_work(body.equations, active, n=N, n_outputs=OUTPUTS, shared=shared)
    push = push_work(body.equations, active, n=N, columns=OUTPUTS, shared=shared)
    works = evaluate([forward, sweep, push], n1=5, n2=1, n_outputs=3)
    for work in works:
        assert_plausible(work)
    assert works[1].flops > works[0].flops / 4


def assert_plausible(work: Work) -> None:
    assert work.peak_bytes > 0
    for operation in work.operations:
        for name, value in operation.__dict__.items():
            assert name == "kind" or value >= 0, (name, operation)
        moved = operation.bytes_read + operation.bytes_written_fresh
        assert moved > 0 or operation.kind is OperationKind.LOOP
        if operation.kind in (OperationKind.DOT, OperationKind.BATCHED_DOT):
            sizes = operation.batch * operation.m * operation.n * operation.k
            # The derivative of a factorisation takes several products of its size.
            assert operation.flops <= 2 * 4 * sizes * operation.repeats


@pytest.mark.parametrize(
    "name", ["transformer_encoder", "resnet18_frozen", "cnn_max_pool"]
)
def test_a_whole_model_counts_about_what_xla_counts(name):
    names = {case.name for case in PLAIN_CASES}
    name = next(item for item in sorted(names) if name in item)
    f, params, x1, _ = problem(name)
    body = body_of(f, params, jax.tree.map(lambda leaf: leaf[:1], x1))
    shared = body.inputs[: len(jax.tree.leaves(params))]
    n = jax.tree.leaves(x1)[0].shape[0]
    work = forward_work(body.equations, n=n, shared=shared)
    counted = jax.jit(f).lower(params, x1).compile().cost_analysis()
    assert work.flops == pytest.approx(counted["flops"], rel=0.3)


def test_peak_memory_follows_what_is_alive():
    def f(x):
        for _ in range(5):
            x = lax.sort(x)
        return x

    body = body_of(f, zeros(100))
    assert forward_work(body.equations, n=N, shared=()).peak_bytes == 2 * 400 * N

    def keeps(x):
        return [lax.sort(x + i) for i in range(5)]

    body = body_of(keeps, zeros(100))
    assert forward_work(body.equations, n=1, shared=()).peak_bytes >= 5 * 400


def test_two_families_never_claim_one_primitive():
    assert len(work_rules()) > 120


@pytest.mark.parametrize(
    ("f", "shapes", "transposed"),
    [
        (lambda a, b: a @ b, ((3, 4), (4, 5)), False),
        (lambda a, b: a.T @ b, ((4, 3), (4, 5)), False),
        (
            lambda a, b: lax.dot_general(a, b, (((0,), (0,)), ((), ()))),
            ((4, 3), (4, 5)),
            True,
        ),
        (
            lambda a, b: lax.dot_general(a, b, (((1,), (1,)), ((0,), (0,)))),
            ((2, 4, 3), (2, 4, 5)),
            True,
        ),
        (
            lambda a, b: lax.dot_general(a, b, (((2,), (1,)), ((0,), (0,)))),
            ((2, 3, 4), (2, 4, 5)),
            False,
        ),
    ],
)
def test_products_say_whether_their_left_operand_is_transposed(f, shapes, transposed):
    body = body_of(f, *map(jnp.ones, shapes))
    (product,) = [
        operation
        for equation in body.equations
        for operation in forward_of(equation)
        if operation.kind in (OperationKind.DOT, OperationKind.BATCHED_DOT)
    ]
    assert product.transposed is transposed


def test_the_gradient_by_a_weight_contracts_the_rows_of_what_it_met():
    """`x^T c`: as `x` lies in memory, its contracted axis comes first."""
    body = body_of(lambda x, weight: x @ weight, jnp.ones((3, 4)), jnp.ones((4, 5)))
    (equation,) = body.equations
    (by_weight,) = pullback_of(equation, 1)
    (by_x,) = pullback_of(equation, 0)
    assert by_weight.transposed
    assert not by_x.transposed
