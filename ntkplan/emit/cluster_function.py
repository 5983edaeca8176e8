"""Functions for what several clusters of blocks do alike, and their calls."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Sequence

from ntkplan.emit.clusters import Cluster, cluster_lines
from ntkplan.emit.expression import (
    INDENT,
    Expression,
    atom,
    call,
    indented,
    sequence,
)
from ntkplan.emit.names import free
from ntkplan.ir.program import Program

# Lines of a function beside its body, and how many it must spare at least.
_DEFINITION_LINES = 8
_LEAST_SPARED = 0
_WIDTH = 88

_NAMES = {
    "C1 C2": "cotangent_products",
    "(C1 A1)(C2 A2)": "jacobian_products",
    "(C1 C2)(A1 A2)": "gram_products",
}
_DESCRIBED = {
    "C1 C2": "inner products of cotangents",
    "(C1 A1)(C2 A2)": "inner products of Jacobians",
    "(C1 C2)(A1 A2)": "products of two Grams",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClusterFunction:
    """A function that adds up what layers add to the kernel.

    Attributes:
        name: Its name.
        text: Its definition.
    """

    name: str
    text: str

    def call(self, sides: Sequence[str], keys: Sequence[Sequence[str]]) -> Expression:
        """Prints a call for layers, given by the keys of their arrays."""
        layers = [
            atom(f'"{each[0]}"')
            if len(each) == 1
            else sequence([f'"{key}"' for key in each])
            for each in keys
        ]
        return call(self.name, *map(atom, sides), *layers)


def cluster_functions(
    program: Program, clusters: Sequence[Cluster]
) -> dict[tuple[str, ...], ClusterFunction]:
    """Returns functions, by forms, where they spare lines.

    Args:
        program: What the clusters are of.
        clusters: All of them.
    """
    uses: dict[tuple[str, ...], list[Cluster]] = {}
    for cluster in clusters:
        if cluster.form is not None:
            uses.setdefault(cluster.form, []).append(cluster)
    functions: dict[tuple[str, ...], ClusterFunction] = {}
    for form, alike in uses.items():
        n_lines = sum(
            len(cluster_lines(program, each.blocks, program.input_names, first=False))
            for each in alike
        )
        spared = n_lines - len(alike) - len(form) - _DEFINITION_LINES
        if len(alike) == 1 or spared < _LEAST_SPARED:
            continue
        orders = list(dict.fromkeys(_orders(alike[0])))
        taken = [function.name for function in functions.values()]
        name = free(_NAMES.get(orders[0], "layer_products"), taken)
        described = ", ".join(_DESCRIBED.get(order, order) for order in orders)
        text = _text(name, f"What layers add to the kernel: {described}.", alike[0])
        functions[form] = ClusterFunction(name=name, text=text)
    return functions


def _orders(cluster: Cluster) -> list[str]:
    records = [block.record for block in cluster.blocks]
    return [record.order if record else "products" for record in records]


def _text(name: str, described: str, cluster: Cluster) -> str:
    form = cluster.form or ()
    body = "\n".join(form)
    unpacked = [
        ", ".join(
            table if f"{table}[" in body else "_"
            for table in (f"activations{side}", f"cotangents{side}")
        )
        + f" = side{side}"
        for side in (1, 2)
    ]
    lines = [
        *unpacked,
        "theta = 0.0",
        f"for {', '.join(cluster.parameters)} in layers:",
        *indented(form),
        "return theta",
    ]
    documentation = [f'{INDENT}"""{described}"""']
    if len(documentation[0]) > _WIDTH:
        first, _, rest = described.partition(": ")
        rest = f"{rest[0].upper()}{rest[1:]}"
        paragraph = textwrap.wrap(rest, _WIDTH - len(INDENT))
        documentation = [
            f'{INDENT}"""{first}.',
            "",
            *indented([*paragraph, '"""']),
        ]
    head = [f"def {name}(side1, side2, *layers):", *documentation]
    return "\n".join([*head, *indented(lines)])
