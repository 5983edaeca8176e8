"""Every contraction order of a layer as a program of its own, and its work."""

from __future__ import annotations

import dataclasses
import hashlib
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp

from benchmarks.targets.shapes import Shape
from ntkplan import _jax
from ntkplan.cost.symbols import SYMBOLS, Size, evaluate
from ntkplan.cost.work import Work
from ntkplan.emit import lower as lowering
from ntkplan.emit.helpers import helper_sections
from ntkplan.emit.statements import BlockPrinter
from ntkplan.ir.graph import KernelGraph
from ntkplan.ir.program import Program
from ntkplan.ir.use import Factor, Layer, Stack
from ntkplan.methods import network
from ntkplan.methods.candidate import Candidate, Method
from ntkplan.methods.network import Frame
from ntkplan.methods.table import METHODS
from ntkplan.options import kernel_spec
from ntkplan.trace.build import build
from ntkplan.trace.layers import find_layers

PRECISION = "highest"
"""What kernels compute with on TPUs and GPUs, if nothing else is asked for."""

_GIVEN = ("c1", "c2", "a1", "a2", "factors")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Contraction:
    """One contraction order of a layer, ready to be compiled and to be priced.

    Attributes:
        order: The order, as plans print it.
        method: The method that it belongs to.
        work: What it does, in numbers; without the addition to the kernel, which is the
            same for all orders.
        source: A module that defines `contraction` of the arguments below.
        arguments: For every argument its arrays by key: shape and data type.
    """

    order: str
    method: str
    work: Work
    source: str
    arguments: Mapping[str, Mapping[str, tuple[tuple[int, ...], str]]]

    @property
    def digest(self) -> str:
        """Names the program: equal for equal sources and arguments."""
        text = f"{self.source}\n{self.arguments}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def contractions(shape: Shape) -> list[Contraction]:
    """Traces a layer and returns all of its orders.

    NTK-vector products are none: they push through the whole model.
    """
    weight = jax.ShapeDtypeStruct(shape.parameter, jnp.float32)
    model = build(shape.apply, weight, shape.x, batch_axis=0, wrt=None)
    graph = model.graphs[""]
    spec = kernel_spec(
        kernel=shape.kernel,
        trace_axes=None,
        diagonal_axes=None,
        pairs="all",
        output_shape=graph.output.shape,
        whole_batch=False,
    )
    frame = network.frame(spec)
    (layer,) = find_layers(graph).layers
    if layer.opaque is not None:
        raise ValueError(f"{shape.name} is opaque: {layer.opaque}")
    found = [
        candidate
        for method, rule in METHODS.items()
        if method is not Method.NTK_VECTOR_PRODUCTS
        for candidate in rule(layer, frame, 4)
    ]
    sizes = {"n1": shape.n, "n2": shape.n, "n_outputs": spec.n_basis}
    works = evaluate([candidate.work for candidate in found], **sizes)
    return [
        Contraction(
            order=candidate.order,
            method=candidate.method,
            work=_without_addition(candidate, work),
            **_emitted(graph, weight, layer, frame, candidate, sizes),
        )
        for candidate, work in zip(found, works, strict=True)
    ]


def _without_addition(candidate: Candidate, work: Work) -> Work:
    own = sum(count for _, count in candidate.parts)
    return dataclasses.replace(work, operations=work.operations[:own])


def _emitted(
    graph: KernelGraph,
    weight: jax.ShapeDtypeStruct,
    layer: Layer,
    frame: Frame,
    candidate: Candidate,
    sizes: Mapping[str, int],
) -> dict[str, Any]:
    """Prints one candidate's block as a function of what the block is given."""
    choice = lowering.Choice(layer=layer, candidate=candidate, comments=())
    program = lowering.lower(
        graph,
        [choice],
        frame,
        params=weight,
        batch_axis=0,
        data_access=("",),
        precision=PRECISION,
        title="",
        notes=(),
    )
    return {
        "source": _source(program),
        "arguments": _arguments(program, layer, frame, sizes),
    }


def _source(program: Program) -> str:
    (block,) = program.blocks
    printer = BlockPrinter(
        block,
        program.kernel_labels,
        program.input_names,
        program.precision,
        program.dtype,
        None,
    )
    lines = printer.lines(target="theta = " if block.loop == 1 else "theta += ")
    if block.loop > 1:
        body = textwrap.indent("\n".join(lines), "    ")
        lines = ["theta = 0.0", f"for step in range({block.loop}):", *body.split("\n")]
    return "\n".join(
        [
            "import itertools",
            "import math",
            "import jax",
            "import jax.numpy as jnp",
            *helper_sections(
                program.blocks, with_options=program.precision is not None
            ),
            f"def contraction({', '.join(_GIVEN)}):",
            *(f"    {line}" for line in lines),
            "    return theta",
            "",
        ]
    )


def _arguments(
    program: Program, layer: Layer, frame: Frame, sizes: Mapping[str, int]
) -> dict[str, dict[str, tuple[tuple[int, ...], str]]]:
    """Returns shapes and types of the arrays that the block is given."""
    lengths = network.label_sizes(layer, frame)
    found: dict[str, dict[str, tuple[tuple[int, ...], str]]]
    found = {name: {} for name in _GIVEN}

    def give(name: str, shape: Sequence[Size], dtype: str) -> None:
        text = program.input_names.get(name)
        if text is None:
            return
        argument, key = text.rstrip("]").split("[")
        found[argument][key.strip('"')] = (_numbers(shape, sizes), dtype)

    for stack in layer.stacks:
        for number in (0, 1):
            side = network.side(layer, stack, number, frame)
            give(
                side.cotangents.name,
                [lengths[label] for label in side.cotangents.stored],
                "float32",
            )
            if side.recorded is not None:
                lead = [lengths[label] for label in side.recorded.stored]
                kept = len(lead) - len(stack.first.activations)
                shape = (*lead[:kept], *stack.recorded_shape)
                give(side.recorded.name, shape, _dtype(stack))
            for factor, use in zip(side.factors, stack.first.factors, strict=True):
                shape = [lengths[label] for label in factor.stored]
                give(factor.name, shape, _dtype(use))
    return found


def _dtype(source: Stack | Factor) -> str:
    variable = source.variable if isinstance(source, Factor) else source.first.recorded
    return str(_jax.array_dtype(cast(_jax.Var, variable)))


def _numbers(shape: Sequence[Size], sizes: Mapping[str, int]) -> tuple[int, ...]:
    """Puts numbers in place of symbols."""
    values = [(symbol, sizes[symbol.name]) for symbol in SYMBOLS]
    return tuple(
        size if isinstance(size, int) else int(cast(Any, size.subs(values)))
        for size in shape
    )
