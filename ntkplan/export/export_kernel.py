"""From the module of a plan to programs of `jax.export`."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.export

from ntkplan.emit.load import load
from ntkplan.emit.source import Module
from ntkplan.errors import ConflictingOptionsError, ExportError, UnknownOptionError
from ntkplan.export.artifact import Export, ExportedProgram
from ntkplan.export.file import require_flatbuffers
from ntkplan.export.sizes import Sizes, largest_tile
from ntkplan.export.trees import leaf_specs, to_json

PLATFORMS = ("cpu", "cuda", "tpu")
"""What kernels are exported for, if nothing else is asked for."""

_KNOWN = (*PLATFORMS, "rocm")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """What is exported.

    Attributes:
        module: The emitted module.
        headline: What the kernel is, in words.
        params: Tree of `jax.ShapeDtypeStruct`.
        x: Likewise, of `x1`.
        batch_axis: The example axis of every array of `x`, or None.
        n1: Examples in `x1` that were planned for.
        n2: Examples in `x2`, or None where it is absent.
        matched: Whether example i of `x1` meets example i of `x2` alone.
        outputs: The paths of the model's outputs; one empty path for an array.
        structure: The tree of the outputs, a `PyTreeDef`; that of one array if not
            given.
    """

    module: Module
    headline: str
    params: Any
    x: Any
    batch_axis: int | None
    n1: int
    n2: int | None
    matched: bool
    outputs: tuple[str, ...] = ("",)
    structure: Any = dataclasses.field(default_factory=lambda: jax.tree.structure(0))


def export_kernel(subject: Subject, platforms: str | Sequence[str]) -> Export:
    """Exports a kernel, with numbers of examples as free as JAX can have them.

    Args:
        subject: The kernel.
        platforms: Names of platforms.

    Raises:
        ExportError: JAX cannot export it.
        MissingExtraError: `flatbuffers` is not installed.
        UnknownOptionError: A platform is not known.
    """
    require_flatbuffers("exporting a kernel")
    names = _checked(platforms)
    module = subject.module
    namespace = load(
        module.text, constants=module.constants, references=module.references
    )
    # How arrays are to lie in memory is said in a way that JAX does not export.
    namespace["with_layout_constraint"] = lambda array, _: array
    exporter = _Exporter(subject=subject, platforms=names, kernel=namespace["kernel"])
    n_outputs = subject.structure.num_leaves
    return Export(
        headline=subject.headline,
        platforms=names,
        params=leaf_specs(subject.params, None),
        x=leaf_specs(subject.x, subject.batch_axis),
        batch_axis=subject.batch_axis,
        matched=subject.matched,
        outputs=subject.outputs,
        tree=to_json(subject.structure.unflatten(range(n_outputs))),
        alone=exporter.program(with_x2=False),
        pair=exporter.program(with_x2=True),
        versions={
            "ntkplan": importlib.metadata.version("ntkplan"),
            "jax": jax.__version__,
        },
    )


def _checked(platforms: str | Sequence[str]) -> tuple[str, ...]:
    """Returns names of platforms, each once."""
    listed = (platforms,) if isinstance(platforms, str) else tuple(platforms)
    for name in listed:
        if name not in _KNOWN:
            raise UnknownOptionError(option="platform", value=name, known=_KNOWN)
    if not listed:
        raise ConflictingOptionsError(
            what="platforms= is empty", hint=f"Name some of {', '.join(_KNOWN)}"
        )
    return tuple(dict.fromkeys(listed))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Exporter:
    """Exports one kernel for `x1` alone, and for `x1` with `x2`.

    Attributes:
        subject: The kernel.
        platforms: Names of platforms.
        kernel: The emitted kernel function.
    """

    subject: Subject
    platforms: tuple[str, ...]
    kernel: Callable[..., Any]

    def program(self, *, with_x2: bool) -> ExportedProgram:
        """Exports one program, its numbers of examples as free as may be.

        Raises:
            ExportError: It cannot be exported for fixed numbers either.
        """
        fixed = self._planned(with_x2)
        if fixed.n1 is None:
            return self._exported_or_refused(fixed, with_x2)
        why = ""
        tile = largest_tile(self.subject.module.text)
        for least in dict.fromkeys((1, tile)):
            n2 = None if fixed.n2 is None else least
            sizes = Sizes(n1=least, n2=n2, fixed=False, why=_TILED * (least > 1))
            try:
                return self._exported(sizes, with_x2)
            # Whatever cannot be said of numbers that are not known: JAX has errors of
            # many types for it. What else is wrong is found with fixed numbers too.
            except Exception as error:
                why = _first_line(error)
        fixed = dataclasses.replace(fixed, why=f"{_FIXED} ({why})")
        return self._exported_or_refused(fixed, with_x2)

    def _planned(self, with_x2: bool) -> Sizes:
        """Returns the numbers of examples that were planned for."""
        subject = self.subject
        if subject.batch_axis is None:
            return Sizes(n1=None, n2=None, fixed=True)
        other = subject.n2 or subject.n1
        counts_other = with_x2 and not subject.matched
        return Sizes(n1=subject.n1, n2=other if counts_other else None, fixed=True)

    def _exported_or_refused(self, sizes: Sizes, with_x2: bool) -> ExportedProgram:
        try:
            return self._exported(sizes, with_x2)
        except Exception as error:
            reasons = self.subject.module.reasons
            raise ExportError(
                platforms=self.platforms,
                reason=_first_line(error),
                parts=tuple(f"{name}: {reasons[name]}" for name in sorted(reasons)),
            ) from error

    def _exported(self, sizes: Sizes, with_x2: bool) -> ExportedProgram:
        """Exports for some numbers of examples, known or not."""
        subject = self.subject
        counts = _dimensions(sizes)
        first = counts.get("n1")
        sides = [self._leaves(subject.x, first)]
        if with_x2:
            sides.append(self._leaves(subject.x, counts.get("n2", first)))
        params, tree = jax.tree.flatten(subject.params)
        tree_x = jax.tree.structure(subject.x)

        def kernels(params: Sequence[Any], *sides: Sequence[Any]) -> list[Any]:
            examples = [tree_x.unflatten(side) for side in sides]
            return jax.tree.leaves(self.kernel(tree.unflatten(params), *examples))

        exported = jax.export.export(jax.jit(kernels), platforms=self.platforms)(
            params, *sides
        )
        return ExportedProgram(sizes=sizes, serialized=bytes(exported.serialize()))

    def _leaves(self, tree: Any, examples: Any) -> list[jax.ShapeDtypeStruct]:
        """Returns the shapes of the leaves of `x`, with so many examples."""
        axis = self.subject.batch_axis

        def sized(spec: Any) -> jax.ShapeDtypeStruct:
            shape = list(spec.shape)
            if axis is not None:
                shape[axis] = examples
            return jax.ShapeDtypeStruct(tuple(shape), spec.dtype)

        return [sized(spec) for spec in jax.tree.leaves(tree)]


_TILED = "tiles have as many examples"
_FIXED = "the code of this kernel depends on their number"


def _dimensions(sizes: Sizes) -> dict[str, Any]:
    """Returns the numbers of examples, as symbols where they are not fixed."""
    if sizes.fixed:
        return dict(sizes.named)
    least = [f"{name} >= {count}" for name, count in sizes.named.items()]
    symbols = jax.export.symbolic_shape(", ".join(sizes.named), constraints=least)
    return dict(zip(sizes.named, symbols, strict=True))


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".")[:200]
