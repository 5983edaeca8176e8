"""A model as data: its leaves, its inputs and its statements, printed as plain JAX."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from tests.oracles import x64

Shape = tuple[int, ...]

IMPORTS = """\
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import ntkplan

jax.config.update("jax_enable_x64", True)
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Assign:
    """One line: `target = expression`, or the expression alone."""

    target: str = ""
    expression: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Define:
    """A local function; it sees the names that were assigned before it."""

    name: str
    arguments: tuple[str, ...]
    body: tuple[Statement, ...]
    returns: str
    decorator: str = ""


Statement = Assign | Define


@dataclasses.dataclass(frozen=True, kw_only=True)
class Array:
    """An array with random values: a leaf or a constant of the model.

    Attributes:
        name: As the statements call it.
        shape: Its shape.
        positive: Whether its values lie around one, so that it can be divided by.
    """

    name: str
    shape: Shape
    positive: bool = False

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def values(self) -> str:
        """The expression that makes the values."""
        if self.positive:
            return f"rng.uniform(0.7, 1.5, size={self.shape})"
        rows = math.prod(self.shape[:-1]) if len(self.shape) > 1 else 1
        return f"rng.normal(size={self.shape}) * {0.9 / math.sqrt(rows):.2f}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Program:
    """A whole model with its parameters and examples.

    Attributes:
        leaves: The parameters.
        packing: How they are stored: `dictionary`, or in one flat vector that is cut by
            `slices`, by `split` or by `dynamic_slices`.
        constants: Arrays that the model closes over.
        x_shape: Shape of one example's floats, or None where there are tokens alone.
        n_tokens: Length of one example's tokens, or None.
        vocabulary: How many different tokens there are.
        body: The statements.
        returns: Name of the output.
        output_shape: Shape of one example's output.
        form: `batched` where statements hold the example axis; `vmapped`, `mapped` or
            `jitted` (and vmapped) where they are of one example.
        seed: Of the values.
        n1: Examples in `x1`.
        n2: Examples in `x2`.
        forward_mode: Whether JAX can push tangents forward through the model.
    """

    leaves: tuple[Array, ...]
    packing: str
    constants: tuple[Array, ...]
    x_shape: Shape | None
    n_tokens: int | None
    vocabulary: int
    body: tuple[Statement, ...]
    returns: str
    output_shape: Shape
    form: str
    seed: int
    n1: int
    n2: int
    forward_mode: bool

    def __repr__(self) -> str:
        return f"<a model of {len(self.leaves)} leaves, seed {self.seed}>"

    @property
    def n_examples(self) -> int:
        """Enough for `x1` with an `x2` of its own or of the same length."""
        return self.n1 + max(self.n1, self.n2)


def print_program(program: Program) -> str:
    """Returns the lines that define `params`, `x` (all examples) and `f`."""
    lines = [f"rng = np.random.default_rng({program.seed})"]
    lines += _params(program)
    lines += [f"{item.name} = {item.values}" for item in program.constants]
    lines += [f"x = {_inputs(program)}", "", ""]
    lines += _model(program)
    return "\n".join(lines) + "\n"


def execute(program: Program) -> dict[str, Any]:
    """Runs the printed program in float64 and returns what it defines."""
    with x64():
        return run_source(IMPORTS + "\n\n" + print_program(program))


def run_source(source: str) -> dict[str, Any]:
    """Runs a printed script and returns its names; precision is the caller's."""
    source = source.replace('jax.config.update("jax_enable_x64", True)\n', "")
    namespace: dict[str, Any] = {"__name__": "generated"}
    exec(compile(source, "<generated model>", "exec"), namespace)
    return namespace


def _params(program: Program) -> list[str]:
    if program.packing != "dictionary":
        parts = "".join(
            f"    np.ravel({leaf.values}),  # {leaf.name}\n" for leaf in program.leaves
        )
        return [f"params = np.concatenate([\n{parts}])"]
    leaves = "".join(f'    "{leaf.name}": {leaf.values},\n' for leaf in program.leaves)
    return [f"params = {{\n{leaves}}}"]


def _inputs(program: Program) -> str:
    n = program.n_examples
    parts = {}
    if program.x_shape is not None:
        parts["x"] = f"rng.normal(size={(n, *program.x_shape)})"
    if program.n_tokens is not None:
        shape = (n, program.n_tokens)
        parts["tokens"] = f"rng.integers({program.vocabulary}, size={shape})"
    if len(parts) == 1:
        return next(iter(parts.values()))
    return "{" + ", ".join(f'"{name}": {text}' for name, text in parts.items()) + "}"


def _model(program: Program) -> list[str]:
    statements = (*_prologue(program), *program.body)
    of_one = Define(
        name="f" if program.form == "batched" else "of_one_example",
        arguments=("params", "x"),
        body=statements,
        returns=program.returns,
    )
    lines = _define(of_one, "")
    if program.form == "batched":
        return lines
    whole = {
        "vmapped": "jax.vmap(of_one_example, in_axes=(None, 0))(params, x)",
        "jitted": "jax.jit(jax.vmap(of_one_example, in_axes=(None, 0)))(params, x)",
        "mapped": "lax.map(lambda example: of_one_example(params, example), x)",
    }[program.form]
    return [*lines, "", "", "def f(params, x):", f"    return {whole}"]


def _prologue(program: Program) -> list[Assign]:
    """Gives every leaf and input the name that the statements know it by."""
    lines = []
    if program.packing == "split":
        ends = [sum(leaf.size for leaf in program.leaves[:i]) for i in _counts(program)]
        lines.append(
            Assign(target="parts", expression=f"jnp.split(params, {ends[1:]})")
        )
    start = 0
    for index, leaf in enumerate(program.leaves):
        stop = start + leaf.size
        text = {
            "dictionary": f'params["{leaf.name}"]',
            "slices": f"params[{start}:{stop}].reshape({leaf.shape})",
            "split": f"parts[{index}].reshape({leaf.shape})",
            "dynamic_slices": f"lax.dynamic_slice(params, ({start},), ({leaf.size},))"
            f".reshape({leaf.shape})",
        }[program.packing]
        lines.append(Assign(target=leaf.name, expression=text))
        start = stop
    both = program.x_shape is not None and program.n_tokens is not None
    if both:
        lines.append(Assign(target="tokens", expression='x["tokens"]'))
        lines.append(Assign(target="x", expression='x["x"]'))
    elif program.x_shape is None:
        lines.append(Assign(target="tokens", expression="x"))
    return lines


def _counts(program: Program) -> range:
    return range(len(program.leaves))


def _print(statement: Statement, indent: str) -> list[str]:
    if isinstance(statement, Define):
        return _define(statement, indent)
    if not statement.target:
        return [indent + statement.expression]
    return [f"{indent}{statement.target} = {statement.expression}"]


def _define(function: Define, indent: str) -> list[str]:
    lines = [f"{indent}@{function.decorator}"] if function.decorator else []
    lines.append(f"{indent}def {function.name}({', '.join(function.arguments)}):")
    inner = indent + "    "
    for statement in function.body:
        lines += _print(statement, inner)
    return [*lines, f"{inner}return {function.returns}"]
