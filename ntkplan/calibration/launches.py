"""What it costs to start things: calls, operations, iterations of loops."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ntkplan.calibration.programs import Timed
from ntkplan.cost.profile import Launch
from ntkplan.rules.equation_work import count_push, count_sweep
from ntkplan.trace.jaxpr import flatten

_TRIPS = (100, 2100)
_LINKS = (4, 132)
_COLUMNS = 400
_COLUMN_WIDTH = 16
_COLUMN_DEPTH = 6


def launch_programs() -> dict[str, Timed]:
    """Returns programs that tell what calls, operations and iterations cost.

    They have run once.
    """
    start, weight = jnp.ones((1, 8)), jnp.eye(8)
    found = {"call": Timed(function=jax.jit(lambda x: x + 1), arguments=(start,))}

    def step(carry: Any, _: None) -> tuple[Any, None]:
        return jnp.tanh(carry @ weight), None

    for trips in _TRIPS:
        function = jax.jit(lambda x, trips=trips: lax.scan(step, x, None, trips)[0])
        found[f"loop{trips}"] = Timed(function=function, arguments=(start,))
    square = jnp.eye(_COLUMN_WIDTH)
    for links in _LINKS:
        function = jax.jit(lambda x, links=links: _chain(x, links))
        found[f"chain{links}"] = Timed(function=function, arguments=(square,))
    found["columns"] = _columns_program()
    for program in found.values():
        program.once()
    return found


def _chain(square: Any, links: int) -> Any:
    """Multiplies small matrices one after the other: launches are all it costs."""
    product = square
    for _ in range(links):
        product = product @ square
    return product


def _network(weights: list[Any], x: Any) -> Any:
    """A perceptron so narrow that launching its operations is all it costs."""
    for weight in weights:
        x = jnp.tanh(x @ weight)
    return x


def _network_arguments() -> tuple[list[Any], Any]:
    weight = 0.1 * jnp.ones((_COLUMN_WIDTH, _COLUMN_WIDTH))
    return [weight] * _COLUMN_DEPTH, jnp.ones((1, _COLUMN_WIDTH))


def _columns_program() -> Timed:
    """Returns a loop of pull-backs and push-forwards, as NTK-vector products do it."""
    weights, x = _network_arguments()

    def columns(weights: list[Any], rows: Any) -> Any:
        _, pull_back = jax.vjp(lambda weights: _network(weights, x), weights)
        _, push = jax.linearize(lambda weights: _network(weights, x), weights)
        return lax.map(lambda row: push(*pull_back(row)), rows)

    rows = jnp.ones((_COLUMNS, 1, _COLUMN_WIDTH))
    return Timed(function=jax.jit(columns), arguments=(weights, rows))


def _column_launches() -> float:
    """Counts the operations of one iteration as the planner counts them."""
    body = flatten(jax.make_jaxpr(_network)(*_network_arguments()))
    active = {variable for each in body.equations for variable in each.outputs}
    active.update(body.inputs[:-1])
    pulled = count_sweep(body.equations, active).at(n=1)
    pushed = count_push(body.equations, active).at(n=1)
    return float(pulled.launches) + float(pushed.launches)


def measured_launch(programs: dict[str, Timed]) -> tuple[Launch, float]:
    """Returns what starting costs, and the seconds of one operation in a program.

    Nothing is said yet about splitting operations among cores.
    """

    def slope(name: str, counts: tuple[int, int]) -> float:
        few, many = (programs[f"{name}{count}"].least for count in counts)
        return float(f"{max((many - few) / (counts[1] - counts[0]), 1e-9):.3g}")

    per_operation = programs["columns"].least / _COLUMNS / _column_launches()
    launch = Launch(
        call_overhead_s=float(f"{programs['call'].least:.3g}"),
        loop_overhead_s=slope("loop", _TRIPS),
        loop_operation_s=float(f"{per_operation:.3g}"),
    )
    return launch, slope("chain", _LINKS)
