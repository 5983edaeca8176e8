"""Functions for what several clusters of blocks do alike, and their calls."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence

from ntkplan.emit.clusters import Cluster, cluster_lines
from ntkplan.emit.expression import (
    INDENT,
    Expression,
    atom,
    call,
    indented,
    statement,
)
from ntkplan.emit.layout import WIDTH
from ntkplan.emit.names import free
from ntkplan.emit.settings import settled
from ntkplan.emit.tables import SIDE_TABLES
from ntkplan.emit.wrapping import wrapped
from ntkplan.ir.program import Program

# Lines of a function beside its body, and how many it must spare at least.
_DEFINITION_LINES = 3
_LEAST_SPARED = 0

_NAMES = {
    "C1 C2": "cotangent_products",
    "(C1 A1)(C2 A2)": "jacobian_products",
    "(C1 C2)(A1 A2)": "gram_products",
}
_DESCRIBED = {
    "C1 C2": "Inner products of cotangents",
    "(C1 A1)(C2 A2)": "Inner products of Jacobians",
    "(C1 C2)(A1 A2)": "Products of two Grams",
}
_OTHERWISE = "What layers add"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClusterFunction:
    """A function of what a layer adds to the kernel.

    Attributes:
        name: Its name.
        text: Its definition.
        method: How the leaves are contracted, where it is the same for all of them.
        settings: For every form that it is for, Python text for its last arguments.
    """

    name: str
    text: str
    method: str | None
    settings: Mapping[tuple[str, ...], tuple[str, ...]] = dataclasses.field(
        compare=False
    )

    def call(self, sides: Sequence[str], cluster: Cluster) -> Expression:
        """Prints a call for a cluster, given both sides."""
        keys = [f'"{key}"' for key in cluster.keys]
        settings = self.settings[cluster.form or ()]
        return call(self.name, *map(atom, (*sides, *keys, *settings)))

    def handed_over(self, to: str, parts: str, cluster: Cluster) -> Expression:
        """Prints a call of what calls it for parts of the model."""
        keys = [f'"{key}"' for key in cluster.keys]
        settings = self.settings[cluster.form or ()]
        return call(to, *map(atom, (parts, self.name, *keys, *settings)))


def cluster_functions(
    program: Program, clusters: Sequence[Cluster], taken: Collection[str]
) -> dict[tuple[str, ...], ClusterFunction]:
    """Returns functions, by forms, where they spare lines.

    Args:
        program: What the clusters are of.
        clusters: All of them.
        taken: Names that mean something else in the module.
    """
    functions: dict[tuple[str, ...], ClusterFunction] = {}
    for alike in _sorted(clusters):
        forms = [cluster.form or () for cluster in alike]
        body = settled(forms, WIDTH)
        if body is None or len(alike) == 1:
            continue
        n_lines = sum(
            len(
                cluster_lines(
                    program, each.blocks, program.input_names, target="theta += "
                )
            )
            for each in alike
        )
        spared = n_lines - len(alike) - len(body.lines) - _DEFINITION_LINES
        if spared < _LEAST_SPARED:
            continue
        orders = list(dict.fromkeys(_orders(alike[0])))
        names = {function.name for function in functions.values()}
        name = _name(alike, orders, {*taken, *names})
        parameters = (*alike[0].parameters, *body.parameters)
        function = ClusterFunction(
            name=name,
            text=_text(name, _documentation(alike, orders), parameters, body.lines),
            method=_method(alike),
            settings=dict(zip(forms, body.arguments, strict=True)),
        )
        functions |= dict.fromkeys(forms, function)
    return functions


def _sorted(clusters: Sequence[Cluster]) -> list[list[Cluster]]:
    """Puts clusters together that one function may be for."""
    groups: list[list[Cluster]] = []
    for cluster in clusters:
        if cluster.form is None:
            continue
        for group in groups:
            if group[0].parameters != cluster.parameters:
                continue
            forms = [group[0].form or (), cluster.form]
            if settled(forms, WIDTH) is not None:
                group.append(cluster)
                break
        else:
            groups.append([cluster])
    return groups


def _orders(cluster: Cluster) -> list[str]:
    records = [block.record for block in cluster.blocks]
    return [record.order if record else "products" for record in records]


def _name(
    alike: Sequence[Cluster], orders: Sequence[str], taken: Collection[str]
) -> str:
    """Names a function after its order, or after its leaves if that name is taken."""
    name = _NAMES.get(orders[0], "layer_products")
    records = [block.record for cluster in alike for block in cluster.blocks]
    leaves = {record.path.rpartition("/")[2] for record in records if record}
    of_leaves = f"{'_'.join(leaves)}_products"
    if name in taken and len(leaves) == 1 and of_leaves.isidentifier():
        name = of_leaves
    return free(name, taken)


def _method(alike: Sequence[Cluster]) -> str | None:
    """Says how leaves are contracted; None where some are otherwise than others."""
    records = [block.record for cluster in alike for block in cluster.blocks]
    said = {f"{record.method}, {record.order}" for record in records if record}
    return said.pop() if len(said) == 1 and None not in records else None


def _documentation(alike: Sequence[Cluster], orders: Sequence[str]) -> list[str]:
    """Prints the docstring of a function: what it computes, and for how many leaves."""
    blocks = [block for cluster in alike for block in cluster.blocks]
    leaves = f"{len(blocks)} leaves"
    leaves += " with biases" if any(block.bias is not None for block in blocks) else ""
    described = [_DESCRIBED[order] for order in orders if order in _DESCRIBED]
    method = _method(alike) or ", ".join(orders)
    for what in (*described[: len(orders) == 1], _OTHERWISE):
        line = f'"""{what}: {method}, {leaves}."""'
        if len(line) <= WIDTH:
            return [line]
    return [
        f'"""{_OTHERWISE}.',
        "",
        *wrapped(f"{method}, {leaves}.", WIDTH),
        '"""',
    ]


def _text(
    name: str,
    documentation: Sequence[str],
    parameters: Sequence[str],
    form: Sequence[str],
) -> str:
    body = "\n".join(form)
    sides = [f"({', '.join(_read(side, body))}), " for side in (1, 2)]
    unpacked = f"{''.join(sides)[:-2]} = side1, side2"
    header = call(name, *map(atom, ("side1", "side2", *parameters)))
    header = dataclasses.replace(header, text=f"{header.text}:", closing="):")
    head = statement("def ", header, WIDTH + len(INDENT))
    return "\n".join([*head, *indented([*documentation, unpacked, *form])])


def _read(side: int, body: str) -> list[str]:
    """Returns what the arrays of a side are unpacked to, as far as they are read."""
    tables = [f"{letter}{side}" for letter in SIDE_TABLES.values()]
    return [table if f"{table}[" in body else "_" for table in tables]
