"""Saved modules that import the user's function for the parts that have no source.

The file traces the user's function on one example, as it was traced when the kernel was
planned, and takes the equations that it needs out of that, by their number. What each
of them applies, and to which shapes, is compared with what was planned.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax

from ntkplan._jax import Literal, source_location
from ntkplan.emit.join import RESTORE
from ntkplan.emit.names import free
from ntkplan.emit.reference import Reference
from ntkplan.emit.shape_checks import CHECK
from ntkplan.emit.source import Module
from ntkplan.errors import UnprintableError

_EQUATIONS = '''
def equations(jaxpr):
    """All equations of a jaxpr; those inside of one follow it."""
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            for inner in value if isinstance(value, (tuple, list)) else [value]:
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from equations(inner)


def described(equation):
    """What an equation applies, to which shapes, with which results."""
    given, made = (
        ", ".join(f"{item.aval.dtype}{list(item.aval.shape)}" for item in items)
        for items in (equation.invars, equation.outvars)
    )
    return f"{equation.primitive.name}({given}) -> {made}"
'''

_USE = '''
def trace_model(params, x):
    """Finds the parts of the model that no source stands for, once."""
    if FOUND:
        return
    params = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), params)
    x = jax.tree.map(one_example, x)
    traced, outputs = jax.make_jaxpr(MODEL, return_shape=True)(params, x)
    every = list(equations(traced.jaxpr))
    for name, (number, planned) in PARTS.items():
        if len(every) <= number or described(every[number]) != planned:
            raise ValueError(
                f"PLACE is not the model that this kernel was planned "
                f"for: its equation {number} should be {planned}"
            )
        FOUND[name] = function_of(every[number], traced.jaxpr)
    FOUND["outputs"] = jax.tree.structure(outputs)


def function_of(equation, jaxpr):
    """One equation as a function of the variables that it reads."""
    given = [item for item in equation.invars if not hasattr(item, "val")]
    inputs = list(dict.fromkeys(given))
    alone = jaxpr.replace(
        constvars=[],
        invars=inputs,
        outvars=equation.outvars,
        eqns=[equation],
        effects=equation.effects,
    )
    function = jaxpr_as_fun(ClosedJaxpr(alone, []))

    def apply(*operands):
        values = dict(zip(given, operands))
        return function(*(values[item] for item in inputs))

    return apply
'''


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """The user's function, as a saved file imports it.

    Attributes:
        module: The module's name.
        name: The function's name in it.
        function: The function.
        params: Tree of `jax.ShapeDtypeStruct`s that it is traced with.
        x: Likewise, with one example.
        batch_axis: The example axis of every array of `x`, or None.
    """

    module: str
    name: str
    function: Callable[..., Any]
    params: Any
    x: Any
    batch_axis: int | None


def with_model(module: Module, model: Model, *, checks_itself: bool) -> Module:
    """Returns a module that imports the user's function for what has no source.

    Args:
        module: A finished module, which calls some parts of the model by reference.
        model: The user's function.
        checks_itself: Whether the file is still to check itself when it is run.

    Raises:
        UnprintableError: A part is not found in the user's function, or not for sure.
    """
    references = {k: v for k, v in module.references.items() if k != RESTORE}
    parts = _numbers(references, module.reasons, model)
    name = free("model", [*parts, model.name, *_words(module.text)])
    lines = module.text.splitlines()
    start = lines.index("import jax.numpy as jnp")
    imports_end = next(i for i in range(start, len(lines)) if not lines[i])
    head, rest = lines[:imports_end], "\n".join(lines[imports_end:])
    rest = rest.replace(f"    {CHECK}\n", f"    {CHECK}\n    trace_model(params, x1)\n")
    head.append("from jax.extend.core import ClosedJaxpr, jaxpr_as_fun")
    # The user's own package is sorted behind installed ones, an empty line between.
    head += ["", f"from {model.module} import {model.name} as {name}"]
    body, *main = rest.partition('\n\nif __name__ == "__main__":\n')
    ending = "".join(main) + "\n" if checks_itself else ""
    table = [f'    "{key}": {value!r},' for key, value in parts.items()]
    defined = [
        "# Parts of the model that have no source: number and kind of their equation.",
        "PARTS = {",
        *(line.replace("'", '"') for line in table),
        "}",
        "FOUND = {}",
        "",
        "",
        *_one_example(model.batch_axis),
        _EQUATIONS,
        _USE.replace("MODEL", name).replace("PLACE", f"{model.module}.{model.name}"),
        *(line for key in parts for line in _part_lines(key)),
    ]
    if RESTORE in module.references:
        defined += ["", f"def {RESTORE}(kernels):"]
        defined += ['    return FOUND["outputs"].unflatten(kernels)', ""]
    text = "\n".join([*head, body.rstrip("\n"), "", "", *defined]).rstrip("\n") + "\n"
    return dataclasses.replace(
        module, text=f"{text}{ending}", references={}, reasons={}
    )


def _words(text: str) -> set[str]:
    return set("".join(c if c.isalnum() or c == "_" else " " for c in text).split())


def _one_example(batch_axis: int | None) -> list[str]:
    lines = [
        "def one_example(array):",
        '    """The shape of one example, as the model was traced."""',
    ]
    if batch_axis is None:
        return [*lines, "    return jax.ShapeDtypeStruct(array.shape, array.dtype)", ""]
    return [
        *lines,
        "    shape = list(array.shape)",
        f"    shape[{batch_axis}] = 1",
        "    return jax.ShapeDtypeStruct(tuple(shape), array.dtype)",
        "",
    ]


def _part_lines(name: str) -> list[str]:
    return ["", f"def {name}(*operands):", f'    return FOUND["{name}"](*operands)', ""]


def _numbers(
    references: Mapping[str, Any], reasons: Mapping[str, str], model: Model
) -> dict[str, tuple[int, str]]:
    """Finds the number of every reference's equation in the traced function."""
    namespace: dict[str, Any] = {}
    exec(_EQUATIONS, namespace)
    traced = jax.make_jaxpr(model.function)(model.params, model.x)
    walk: Callable[[Any], Iterator[Any]] = namespace["equations"]
    described: Callable[[Any], str] = namespace["described"]
    places: dict[Any, list[int]] = {}
    every = list(walk(traced.jaxpr))
    for number, equation in enumerate(every):
        key = (described(equation), source_location(equation))
        places.setdefault(key, []).append(number)
    wanted: dict[Any, list[str]] = {}
    for name, reference in references.items():
        if not isinstance(reference, Reference) or _rewritten(reference):
            raise _not_found(name, reasons, model)
        origin = reference.equation.origin
        wanted.setdefault((described(origin), source_location(origin)), []).append(name)
    found: dict[str, tuple[int, str]] = {}
    for key, names in wanted.items():
        numbers = places.get(key, [])
        if numbers and all(_are_alike(every[numbers[0]], every[n]) for n in numbers):
            # A function that is called twice is printed once.
            numbers = numbers[:1] * len(names)
        if len(numbers) != len(names):
            raise _not_found(names[0], reasons, model)
        found |= {n: (k, key[0]) for n, k in zip(names, numbers, strict=True)}
    return found


def _are_alike(one: Any, other: Any) -> bool:
    """Says whether two equations compute the same of what they are given."""
    literals = [
        [item.val if isinstance(item, Literal) else None for item in equation.invars]
        for equation in (one, other)
    ]
    return one is other or (
        one.primitive is other.primitive
        and literals[0] == literals[1]
        and one.params.keys() == other.params.keys()
        # Arrays compare to arrays, which say nothing here.
        and all((one.params[key] == other.params[key]) is True for key in one.params)
    )


def _rewritten(reference: Reference) -> bool:
    """Says whether an equation is another than the one that JAX traced."""
    equation, origin = reference.equation, reference.equation.origin
    literals = [isinstance(item, Literal) for item in equation.inputs]
    return (
        equation.primitive is not origin.primitive
        or literals != [isinstance(item, Literal) for item in origin.invars]
        or [item.aval for item in equation.inputs] != [v.aval for v in origin.invars]
    )


def _not_found(name: str, reasons: Mapping[str, str], model: Model) -> UnprintableError:
    where = f"{model.module}.{model.name}"
    return UnprintableError.of_model(
        f"{model.module}:{model.name}",
        f"{name}: {reasons[name]}; it is not found for sure in {where}",
    )
