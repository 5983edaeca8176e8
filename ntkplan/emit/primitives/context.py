"""What a printer may ask for: names, helper functions, references, constants."""

from __future__ import annotations

import dataclasses
import keyword
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

from ntkplan._jax import Var
from ntkplan.emit.expression import Expression, atom, call
from ntkplan.emit.primitives.value import Unpacked, Value, Written, exact
from ntkplan.errors import EndlessDerivativeError, NotPrintableError
from ntkplan.ir.equation import Atom, Body, Equation

_DEEPEST_HELPER = 4
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")


class Module:
    """The names and definitions of one printed body outside of its statements.

    Attributes:
        outside: Names that the caller has given to something else.
        defined: Names at module level that the source may read.
        local: Names that are used inside some function, and that would hide others.
        knows_public: Whether functions of JAX with derivatives of their own are
            recognised.
        helpers: Source of module-level functions, by name, in order of need.
        constants: Arrays to be bound at module level, by name.
        references: Functions that cannot be printed, by name.
        reasons: Why each of them cannot.
        layouts: Orders of axes of which a model has so many convolutions that they
            have a function, and what that takes beside strides.
        turns_kernels: Whether convolutions are printed so that in loops, too, CPU
            compilers give their derivatives to a library.
        matches: Whether what has a key is a public function, once it was found out.
        keys: What a custom derivative's helper is known by, and writes it.
    """

    def __init__(self, outside: Collection[str], *, knows_public: bool = True) -> None:
        self.outside = frozenset(outside)
        self.defined = {"jax", "jnp", "lax"}
        self.local: set[str] = set()
        self.knows_public = knows_public
        self.helpers: dict[str, str] = {}
        self.constants: dict[str, Any] = {}
        self.references: dict[str, Callable[..., Any]] = {}
        self.reasons: dict[str, str] = {}
        self.layouts: Mapping[Any, frozenset[str]] = {}
        self.turns_kernels = False
        self.matches: dict[Any, bool] = {}
        self.keys: dict[Any, tuple[Any, Callable[[str], str]]] = {}
        self._names: dict[Any, str] = {}
        self._n_writing = 0

    def claim(self, base: str) -> str:
        """Returns a name that is new in the module, and keeps it."""
        name = unique(base, self.defined | self.outside | self.local)
        self.defined.add(name)
        return name

    def constant(self, variable: Var, array: Any) -> str:
        """Returns the name of a closed-over array."""
        return self._once(variable, "CONSTANT", self.constants, array)

    def reference(
        self, equation: Equation, function: Callable[..., Any], reason: str
    ) -> str:
        """Returns the name of a function that is bound and not printed."""
        base = f"call_{identifier(equation.primitive.name)}"
        name = self._once(equation, base, self.references, function)
        self.reasons[name] = reason
        return name

    def helper(self, key: Any, base: str, write: Callable[[str], str]) -> str:
        """Returns the name of a module-level function.

        Args:
            key: What the function is made from; asked for again, even while it is
                being written, it is the same function.
            base: The wanted name.
            write: Makes the source, given the name. Functions whose source is the
                same, as those for arrays of several shapes may be, become one.
        """
        if key in self._names:
            return self._names[key]
        if self._n_writing >= _DEEPEST_HELPER:
            raise EndlessDerivativeError(
                primitive=base, reason="its derivatives of every order differ"
            )
        before = frozenset(self.defined)
        name = self._names[key] = self.claim(base)
        self._n_writing += 1
        try:
            source = write(name)
        except NotPrintableError:
            self.defined.discard(name)
            del self._names[key]
            raise
        finally:
            self._n_writing -= 1
        for other, text in self.helpers.items():
            if _renamed(source, name, other) == text:
                self.defined = self.defined & (before | self._kept())
                self._names[key] = other
                return other
        self.helpers[name] = source
        return name

    @property
    def is_writing(self) -> bool:
        """Whether a helper is being written."""
        return self._n_writing > 0

    def _kept(self) -> frozenset[str]:
        """Names of what is defined besides the functions' own rules."""
        return frozenset((*self.helpers, *self.constants, *self.references))

    def _once(self, key: Any, base: str, table: dict[str, Any], item: Any) -> str:
        if key not in self._names:
            self._names[key] = self.claim(base)
            table[self._names[key]] = item
        return self._names[key]


def _renamed(source: str, name: str, other: str) -> str:
    """The source of a helper and its rules under another name.

    Attributes and keys of that name stay what they are: of two functions that are
    called `sin` and `cos` after what they call, neither is the other.

    >>> _renamed("def sin(x): return jnp.sin(x)", "sin", "cos")
    'def cos(x): return jnp.sin(x)'
    """
    pattern = rf"(?<![\w.\"']){name}((_(jvp|fwd|bwd))?)\b"
    return re.sub(pattern, rf"{other}\1", source)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
    """Variables of a function that stand together, as one argument or one result.

    Attributes:
        name: The argument's name when it holds several variables.
        each: The name of a variable, numbered where there are several.
        positions: Which of the function's inputs or outputs they are; None stands
            for an argument that is not read, or a result that is `None`.
        always_tuple: Whether one variable is a tuple of one, and not itself.
        wanted: The user's names of the variables, empty where there are none.
    """

    name: str
    each: str = "x"
    positions: tuple[int | None, ...]
    always_tuple: bool = False
    wanted: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Signature:
    """How a nested function takes and returns the variables of its body.

    Attributes:
        captured: Values, from outside of the function, of its first inputs.
        arguments: The other inputs.
        results: The outputs.
    """

    captured: tuple[Value, ...] = ()
    arguments: tuple[Group, ...]
    results: tuple[Group, ...]


class WriteFunction(Protocol):
    """Prints a body as a function definition."""

    def __call__(
        self,
        body: Body,
        signature: Signature,
        *,
        name: str,
        module: Module,
        local: Collection[str],
        width: int,
    ) -> list[str]:
        """Returns the lines, the one with `def` first."""
        ...


@dataclasses.dataclass(kw_only=True)
class Context:
    """Where a statement is printed.

    Attributes:
        module: What stands outside of the function.
        local: Names in use inside it.
        width: Columns for a line.
        deciding: Whether this is the pass that only decides what gets a name.
        before: Lines that must stand before the statement.
        has_nested: Whether the statement reads a function defined just before it.
        write_function: Prints nested bodies.
        written: Names of the functions that stand in this one, by their source.
    """

    module: Module
    local: set[str]
    width: int
    deciding: bool
    write_function: WriteFunction
    before: list[str] = dataclasses.field(default_factory=list)
    has_nested: bool = False
    written: dict[str, str] = dataclasses.field(default_factory=dict)

    def claim(self, base: str) -> str:
        """Returns a name that is new here, and keeps it."""
        name = unique(base, self.local | self.module.defined)
        self.local.add(name)
        self.module.local.add(name)
        return name

    def claim_argument(self, group: Group, index: int) -> str:
        """Returns a name for a variable of an argument, the user's if it is free."""
        taken = self.local | self.module.defined
        several = len(group.positions) > 1
        user = group.wanted[index] if index < len(group.wanted) else ""
        if user and user not in taken:
            return self.claim(user)
        if user and several and f"{user}_{group.each}" not in taken:
            return self.claim(f"{user}_{group.each}")
        return self.claim(f"{group.each}{index}" if several else group.each)

    def local_function(self, base: str, body: Body, signature: Signature) -> Expression:
        """Defines a function in front of the statement, and returns its name.

        One with the same source, which stands here already, is used again.
        """
        self.has_nested = True
        name = self.claim(base)
        if self.deciding:
            return atom(name)
        lines = self.write_function(
            body,
            signature,
            name=name,
            module=self.module,
            local=self.local,
            width=self.width,
        )
        source = _renamed("\n".join(lines), name, "_")
        if source in self.written:
            self.local.discard(name)
            return atom(self.written[source])
        self.written[source] = name
        self.before.extend([*lines, ""])
        return atom(name)

    def module_function(self, name: str, body: Body, signature: Signature) -> str:
        """Returns the source of a function that stands at module level."""
        lines = self.write_function(
            body, signature, name=name, module=self.module, local=(), width=88
        )
        return "\n".join(lines)


Result = Value | Unpacked | Written
Printer = Callable[[Equation, Sequence[Value], Context], Result]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """One equation, or several that print as one.

    Attributes:
        inputs: What it reads.
        outputs: What it defines.
        write: Prints it from its operands.
        n_captured: How many of its first operands a nested function reads, so that
            they must be names.
    """

    inputs: tuple[Atom, ...]
    outputs: tuple[Var, ...]
    write: Callable[[Sequence[Value], Context], Result]
    n_captured: int = 0


def unique(base: str, taken: Collection[str]) -> str:
    """The first of `base`, `base_1`, ... that is not taken."""
    base = identifier(base)
    name, count = base, 0
    while name in taken:
        count += 1
        name = f"{base}_{count}"
    return name


def identifier(text: str) -> str:
    """Text made into a Python name.

    >>> identifier("scatter-add"), identifier("lambda"), identifier("0")
    ('scatter_add', 'lambda_', '_0')
    """
    name = re.sub(r"\W", "_", text, flags=re.ASCII)
    if not name or name[0].isdigit():
        name = f"_{name}"
    return f"{name}_" if keyword.iskeyword(name) else name


def tuple_target(names: Sequence[str]) -> str:
    """What a tuple of values is assigned to."""
    return f"({names[0]},)" if len(names) == 1 else ", ".join(names)


def refer(
    equation: Equation,
    operands: Sequence[Value],
    context: Context,
    function: Callable[..., Any],
    reason: str,
) -> Unpacked:
    """Calls an equation by reference, because it cannot be printed."""
    name = context.module.reference(equation, function, reason)
    arguments = [
        exact(operand)
        for atom_, operand in zip(equation.inputs, operands, strict=True)
        if isinstance(atom_, Var)
    ]

    def target(names: Sequence[str]) -> str:
        return f"({names[0]},)" if len(names) == 1 else ", ".join(names)

    return Unpacked(expression=call(name, *arguments), target=target)
