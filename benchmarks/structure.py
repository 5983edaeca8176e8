"""What knowing a model's structure is worth: three pairs of kernels, side by side.

    python -m benchmarks.structure [--out FILE] [--rounds N] [--only NAME ...]

- `embedding`: an embedding of 10,000 tokens and a transformer block, planned as it is,
  and with the embedding hidden behind a function that no rule looks into.
- `unrolled`: a recurrence of 100 steps written out, against the same by `lax.scan`.
- `scanned`: an MLP of 12 layers by `lax.scan` over stacked weights, against the same
  written out.

Both kernels of a pair are compared with each other before they are timed.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy

import ntkplan
from benchmarks.command_line import RESULTS, add_selection, selected, write
from benchmarks.environment import environment
from benchmarks.measure import Timed, interleave, memory_figures, summary

_BUDGET_S = 20.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pair:
    """Two models that compute the same, and what their kernels are compared in.

    Attributes:
        name: The pair's name.
        models: The model that knows more, or should cost as much, first.
        params: A tree of parameters for each of them.
        x: Examples.
        limits: The largest ratio, first over second, that is claimed of each figure.
    """

    name: str
    models: dict[str, Callable[[Any, Any], Any]]
    params: Sequence[Any]
    x: Any
    limits: dict[str, float]


@jax.custom_vjp
def hidden(leaf: jax.Array) -> jax.Array:
    """Returns an array as it is, in a way that no rule looks into."""
    return leaf


hidden.defvjp(lambda leaf: (leaf, None), lambda _, cotangent: (cotangent,))


def _normal(generator: numpy.random.Generator, *shape: int) -> jax.Array:
    scale = shape[-2] ** -0.5 if len(shape) > 1 else 1.0
    return jnp.asarray(generator.normal(size=shape) * scale, jnp.float32)


def embedding() -> Pair:
    """Returns an embedding and a transformer block, with and without its structure."""
    generator = numpy.random.default_rng(0)
    vocabulary, length, width, n_outputs = 10_000, 16, 64, 10
    params = {
        "embedding": _normal(generator, vocabulary, width),
        "qkv": _normal(generator, width, 3 * width),
        "projection": _normal(generator, width, width),
        "up": _normal(generator, width, 4 * width),
        "down": _normal(generator, 4 * width, width),
        "head": _normal(generator, width, n_outputs),
    }
    x = jnp.asarray(generator.integers(vocabulary, size=(8, length)))

    def block(params: Any, h: jax.Array) -> jax.Array:
        query, key, value = jnp.split(h @ params["qkv"], 3, axis=-1)
        scores = jnp.einsum("nsk,ntk->nst", query, key) * width**-0.5
        h = h + jax.nn.softmax(scores) @ value @ params["projection"]
        return h + jax.nn.gelu(h @ params["up"]) @ params["down"]

    def known(params: Any, x: jax.Array) -> jax.Array:
        return block(params, params["embedding"][x]).mean(1) @ params["head"]

    def opaque(params: Any, x: jax.Array) -> jax.Array:
        h = hidden(params["embedding"])[x]
        return block(params, h).mean(1) @ params["head"]

    return Pair(
        name="embedding",
        models={"structured": known, "opaque": opaque},
        params=(params, params),
        x=x,
        limits={"time": 1 / 5, "temporaries": 1 / 5},
    )


def unrolled() -> Pair:
    """Returns a recurrence of 100 steps, written out and by `lax.scan`."""
    generator = numpy.random.default_rng(0)
    n_steps, n_inputs, width, n_outputs = 100, 8, 32, 10
    params = {
        "w": _normal(generator, n_inputs, width),
        "u": _normal(generator, width, width),
        "b": _normal(generator, width),
        "v": _normal(generator, width, n_outputs),
    }
    x = _normal(generator, 16, n_steps, n_inputs)

    def step(params: Any, h: jax.Array, entry: jax.Array) -> jax.Array:
        return jnp.tanh(entry @ params["w"] + h @ params["u"] + params["b"])

    def written_out(params: Any, x: jax.Array) -> jax.Array:
        h = jnp.zeros((x.shape[0], width))
        for number in range(n_steps):
            h = step(params, h, x[:, number])
        return h @ params["v"]

    def scanned(params: Any, x: jax.Array) -> jax.Array:
        start = jnp.zeros((x.shape[0], width))
        h, _ = jax.lax.scan(
            lambda h, entry: (step(params, h, entry), None), start, x.swapaxes(0, 1)
        )
        return h @ params["v"]

    return Pair(
        name="unrolled",
        models={"written out": written_out, "scan": scanned},
        params=(params, params),
        x=x,
        limits={"time": 1.5, "time with compilation": 3.0},
    )


def scanned() -> Pair:
    """Returns an MLP of 12 layers, by `lax.scan` and written out."""
    generator = numpy.random.default_rng(0)
    n_layers, width, n_outputs = 12, 64, 10
    weights = _normal(generator, n_layers, width, width)
    biases = _normal(generator, n_layers, width)
    head = _normal(generator, width, n_outputs)
    x = _normal(generator, 32, width)

    def by_scan(params: Any, x: jax.Array) -> jax.Array:
        def layer(h: jax.Array, at: tuple[jax.Array, jax.Array]) -> Any:
            return jnp.tanh(h @ at[0] + at[1]), None

        h, _ = jax.lax.scan(layer, x, (params["w"], params["b"]))
        return h @ params["head"]

    def written_out(params: Any, x: jax.Array) -> jax.Array:
        for weight, bias in params["layers"]:
            x = jnp.tanh(x @ weight + bias)
        return x @ params["head"]

    return Pair(
        name="scanned",
        models={"scan": by_scan, "written out": written_out},
        params=(
            {"w": weights, "b": biases, "head": head},
            {"layers": list(zip(weights, biases, strict=True)), "head": head},
        ),
        x=x,
        limits={"time": 1.3},
    )


PAIRS = {"embedding": embedding, "unrolled": unrolled, "scanned": scanned}


def measure(pair: Pair, rounds: int) -> dict[str, Any]:
    """Plans, compiles and times both kernels of a pair.

    Raises:
        AssertionError: The two kernels differ.
    """
    programs: list[Timed] = []
    rows: dict[str, Any] = {}
    results: list[Any] = []
    for (name, model), params in zip(pair.models.items(), pair.params, strict=True):
        started_s = time.perf_counter()
        plan = ntkplan.plan(model, params, pair.x)
        planned_s = time.perf_counter() - started_s
        kernel = jax.jit(plan.compile())
        compiled = kernel.lower(params, pair.x).compile()
        program = Timed(
            function=compiled, arguments=(params, pair.x), budget_s=_BUDGET_S
        )
        result, _ = program.warm_up()
        results.append(numpy.asarray(result))
        programs.append(program)
        rows[name] = {
            "plan_s": planned_s,
            "ready_s": time.perf_counter() - started_s,
            "memory": memory_figures(compiled),
            "layers": {
                layer.path: {
                    "rules": list(layer.rules),
                    "method": str(layer.method),
                    "order": layer.order,
                }
                for layer in plan.layers
            },
        }
    interleave(programs, rounds)
    difference = abs(results[0] - results[1]).max() / abs(results[1]).max()
    assert difference < 1e-3, f"{pair.name}: the kernels differ by {difference:.1e}"
    for name, program in zip(rows, programs, strict=True):
        rows[name] |= dict(summary(program.samples_s))
    return {
        "kernels": rows,
        "difference": float(difference),
        "ratios": _ratios(list(rows.values())),
        "limits": pair.limits,
    }


def _ratios(rows: Sequence[Any]) -> dict[str, float]:
    first, second = rows
    return {
        "time": first["median_s"] / second["median_s"],
        "time with compilation": first["ready_s"] / second["ready_s"],
        "temporaries": first["memory"]["temp_bytes"] / second["memory"]["temp_bytes"],
    }


def report(name: str, row: dict[str, Any]) -> str:
    """Returns a pair's figures as text."""
    lines = [f"{name}: kernels differ by {row['difference']:.1e}"]
    for kernel, figures in row["kernels"].items():
        lines.append(
            f"  {kernel:12} {figures['median_s'] * 1e3:9.2f} ms, ready after "
            f"{figures['ready_s']:6.2f} s, temporaries "
            f"{figures['memory']['temp_bytes'] / 2**20:8.1f} MiB"
        )
    for figure, limit in row["limits"].items():
        ratio = row["ratios"][figure]
        verdict = "within" if ratio <= limit else "OVER"
        lines.append(f"  {figure}: ratio {ratio:.3f}, {verdict} {limit:.3f}")
    return "\n".join(lines)


def main() -> None:
    """Measures, prints and writes the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add_selection(parser, PAIRS)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    out, names = selected(
        arguments, out=RESULTS / "structure_cpu.json", all_of=tuple(PAIRS)
    )
    rows: dict[str, Any] = {}
    for name in names:
        rows[name] = measure(PAIRS[name](), arguments.rounds)
        print(report(name, rows[name]), flush=True)
    document = {
        "command": "python -m benchmarks.structure",
        "environment": environment(),
        "pairs": rows,
    }
    write(document, out)


if __name__ == "__main__":
    main()
