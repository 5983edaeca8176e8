"""The plan, as users hold it: what to read, what to run, what to keep."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from ntkplan.compiled_memory import CompiledMemory, compiled_memory, require_platform
from ntkplan.compiling import called, options_of
from ntkplan.cost.profile import DeviceProfile
from ntkplan.emit.frame import Frame, framed
from ntkplan.emit.load import load
from ntkplan.emit.source import Module
from ntkplan.errors import ModelNeededError, UnknownOptionError
from ntkplan.export.artifact import Export
from ntkplan.export.export_kernel import PLATFORMS, Subject, export_kernel
from ntkplan.ir.kernel import KernelSpec
from ntkplan.ir.plan import (
    Approximation,
    LayerPlan,
    LeafFormulas,
    PlanCost,
    Tuning,
)
from ntkplan.plan_json.text import (
    PLAN,
    formulas_of,
    plan_fields,
    read,
    records_of,
    signature_of,
    symbolic_of,
    written,
)
from ntkplan.planner.explain import alternatives_table, table
from ntkplan.saved_module import save_module
from ntkplan.signature import Signature, check_arguments, sizes_asked_for
from ntkplan.sized_kernel import SizedKernel
from ntkplan.source_formats import formatted
from ntkplan.source_html import notebook_html
from ntkplan.symbolic import Symbolic
from ntkplan.trace.leaves import tree_inputs


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """How a kernel will be computed, leaf by leaf, and the source that does it.

    `print(plan)` shows a table to argue with.

    Attributes:
        layers: What was chosen for every leaf.
        cost: What the whole is estimated to cost.
        device: The profile that the estimates rest on.
        spec: The kernel.
        n1: Examples in `x1` that were planned for.
        n2: Examples in `x2`, or None where `x2` is absent.
        signature: Shapes that the kernel takes.
        headline: What the plan is of, in words.
        notes: What else there is to say of it: tiles and why, where it is cut, what was
            measured.
        emit: Makes the emitted module, without what stands around its functions.
        symbolic_work: Makes the formulas of `symbolic`.
        formulas_of: Makes those of a leaf's candidates, given its path.
        plan_at: Plans the same for other numbers of examples.
        tuning: What was measured, with `tune=`; None where nothing was asked for.
        approximation: What sum of logits stands in for, with `tolerance=`; None where
            all has to be exact.
        printed: The finished module, of a plan that was read from JSON.
    """

    layers: tuple[LayerPlan, ...]
    cost: PlanCost
    device: DeviceProfile
    spec: KernelSpec
    n1: int
    n2: int | None
    signature: Signature
    headline: str
    emit: Callable[[], Module]
    symbolic_work: Callable[[], Symbolic]
    formulas_of: Callable[[str], LeafFormulas]
    plan_at: Callable[[int, int | None], Plan]
    notes: tuple[str, ...] = ()
    tuning: Tuning | None = None
    approximation: Approximation | None = None
    printed: Module | None = None

    def __repr__(self) -> str:
        """Returns a line; `str` returns the table."""
        return self.signature.brief(self, self.headline, self.device.name)

    def __str__(self) -> str:
        """Returns the table."""
        return table(
            self.layers, self.cost, self.device, self.headline, self.notes, self.tuning
        )

    @functools.cached_property
    def module(self) -> Module:
        """The emitted module."""
        return self.printed or framed(self.emit(), frame_of(self))

    def at(self, *, n1: int | None = None, n2: int | None = None) -> Plan:
        """Plans the same kernel for other numbers of examples, without tracing again.

        Everything is priced anew, and other methods may be chosen. A plan that was
        made with `tune=` measures at these sizes too, within the same budget, unless
        the timings are kept from before.

        Args:
            n1: Examples in `x1`; None for as many as before.
            n2: Examples in `x2`; None for as many as before, or none.

        Raises:
            InvalidSizeError: A number is below one or not whole, or the plan is of a
                whole batch.
            MemoryLimitError: Nothing fits the memory limit at these sizes.

        Example:
            >>> import jax.numpy as jnp, ntkplan
            >>> plan = ntkplan.plan(lambda w, x: x @ w, jnp.ones((3, 2)), jnp.eye(3))
            >>> plan.at(n1=300).cost.flops > plan.cost.flops
            True
        """
        planned = (self.n1, self.n2)
        return self.plan_at(*sizes_asked_for(self.spec, planned, n1, n2))

    @functools.cached_property
    def symbolic(self) -> Symbolic:
        """The work as sympy formulas in `n1`, `n2`, `n_outputs`."""
        return self.symbolic_work()

    def explain(self, path: str) -> str:
        """Lists every candidate of a leaf, with its formula and what does not fit.

        Args:
            path: The leaf's path, as the table shows it.

        Raises:
            UnknownOptionError: No leaf has that path.
        """
        for layer in self.layers:
            if layer.path == path:
                return alternatives_table(layer, self.formulas_of(path))
        raise UnknownOptionError(
            option="leaf", value=path, known=tuple(layer.path for layer in self.layers)
        )

    def source(self, format: str = "python") -> str:  # noqa: A002
        """Returns the text of the emitted module, the same that `compile` runs.

        Args:
            format: `python`, or `html` for a page with the estimates in the margin,
                coloured where pygments is installed.

        Raises:
            UnknownOptionError: There is no such format.
        """
        return formatted(self, format)

    def _repr_html_(self) -> str:
        """Returns what a notebook shows: the source with its estimates."""
        return notebook_html(self.module.text, self.layers, self.cost, self.headline)

    def save(self, path: str | Path, *, model: str | None = None) -> Path:
        """Writes the emitted module, which imports only JAX and NumPy.

        Arrays that the model closed over and that are too large for the text are
        written beside it, as `.npz`.

        Args:
            path: Where to; a file that is there is replaced.
            model: Where the file is to import `f` from, as `package.module:function`,
                for parts of it that have no source: callbacks, foreign calls. None: the
                file imports only JAX and NumPy.

        Returns:
            The path.

        Raises:
            UnprintableError: Parts of the model have no source, or are not found in
                the function that `model` names.
            ModelReferenceError: There is no such function, or it is not the model.
            UnwritableFileError: The file cannot be written.
        """
        return save_module(self.module, path, self.signature, model)

    def to_json(self) -> str:
        """Returns all of the plan but the model as text, for `from_json`.

        Raises:
            UnprintableError: Parts of the model have no source.
            UnwritablePlanError: `params` or `x` hold nodes of the user's own types.
        """
        return written(PLAN, self.module, plan_fields(self))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Reads what `to_json` wrote: a plan that emits the same bytes.

        It does all that a plan does, except `at`, which needs the model.

        Raises:
            UnreadablePlanError: It is another text, of another schema, or was changed.

        Example:
            >>> import jax.numpy as jnp, ntkplan
            >>> plan = ntkplan.plan(lambda w, x: x @ w, jnp.ones((3, 2)), jnp.eye(3))
            >>> ntkplan.Plan.from_json(plan.to_json()).source() == plan.source()
            True
        """
        return read(text, PLAN, plan_of)

    def export(self, platforms: str | Sequence[str] = PLATFORMS) -> Export:
        """Exports the kernel with `jax.export`, to be run without model and plan.

        It serves calls with and without `x2`. Numbers of examples stay free where
        JAX's shape polymorphism allows it; `print(export)` says for what they are not.

        Args:
            platforms: What it is compiled for when it is called.

        Returns:
            The exported kernel; `save` it, `ntkplan.load_export` reads it.

        Raises:
            ExportError: JAX cannot export it.
            MissingExtraError: The extra `export` is not installed.
        """
        subject = Subject(
            module=self.module,
            headline=self.headline,
            params=self.signature.params,
            x=self.signature.x,
            batch_axis=self.signature.batch_axis,
            n1=self.n1,
            n2=self.n2,
            matched=self.spec.matched,
        )
        return export_kernel(subject, platforms)

    @property
    def compiler_options(self) -> dict[str, Any]:
        """Options with which `compile` has the kernel compiled, on this machine.

        A kernel inside of another jitted function has the options of that one. They are
        for as many examples as were planned, and not for more.

        Example:
            >>> import jax, jax.numpy as jnp, ntkplan
            >>> plan = ntkplan.plan(lambda w, x: x @ w, jnp.ones((3, 2)), jnp.eye(3))
            >>> own = jax.jit(plan.compile(), compiler_options=plan.compiler_options)
        """
        return options_of(self.cost)

    def compile(self, *, check_memory: bool = False) -> Kernel:
        """Returns the kernel function, `kernel(params, x1, x2=None)`.

        It is plain JAX: safe under `jit`, `grad` and `vmap`. Numbers of examples are
        free at run time.

        Args:
            check_memory: Whether to compile for the planned shapes at once, and to
                compare the memory limit with what the compiler says that it needs,
                which is then in the kernel's `memory`.

        Raises:
            MemoryExceededError: The compiled kernel needs more than the limit.
            ConflictingOptionsError: Memory is to be checked of a plan for another
                platform than JAX compiles for.
        """
        if check_memory:
            require_platform(self.device)
        namespace = load(
            self.module.text,
            constants=self.module.constants,
            references=self.module.references,
        )
        kernel = Kernel(plan=self, function=namespace["kernel"])
        if not check_memory:
            return kernel
        memory = compiled_memory(
            kernel.lower,
            self.signature,
            n1=self.n1,
            n2=self.n2,
            cost=self.cost,
        )
        return dataclasses.replace(kernel, memory=memory)

    def sized(self, function: Callable[..., Any]) -> SizedKernel:
        """Returns the emitted function as it is to be compiled.

        Args:
            function: The function.
        """
        return SizedKernel(
            function=function,
            cost=self.cost,
            n1=self.n1,
            n2=self.n2,
            batch_axis=self.signature.batch_axis,
        )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Kernel:
    """A compiled kernel function that checks what it is given.

    Attributes:
        plan: The plan that it follows.
        function: The emitted function.
        memory: What the compiler says that it needs, where that was asked for.
    """

    plan: Plan
    function: Callable[..., jax.Array]
    memory: CompiledMemory | None = None

    def __repr__(self) -> str:
        """Returns a line."""
        plan = self.plan
        return plan.signature.brief(self, plan.headline, plan.device.name)

    @property
    def output_pairs(self) -> tuple[tuple[int, int], ...]:
        """Axes of the kernel that stand for one output axis of the model, in pairs."""
        return self.plan.spec.output_pairs

    def __call__(self, params: Any, x1: Any, x2: Any = None) -> jax.Array:
        """Computes the kernel.

        Args:
            params: Parameters, of the tree and shapes that were planned for.
            x1: Examples.
            x2: Other examples, or None for `x1` itself.

        Returns:
            The kernel, `[n1, n2, ...]`.

        Raises:
            MismatchedInputsError: Something has not the shape that was planned for.
        """
        matched = self.plan.spec.matched
        check_arguments(self.plan.signature, params, x1, x2, matched=matched)
        compiled = self._sized.compiled(x1, x2)
        return called(self.function, compiled, params, x1, x2)

    def lower(self, params: Any, x1: Any, x2: Any = None) -> Any:
        """Traces and lowers the kernel, to be compiled ahead of time.

        Args:
            params: Parameters, or their shapes.
            x1: Examples, or their shapes.
            x2: Other examples, or None for `x1` itself.

        Returns:
            A `jax.stages.Lowered`.

        Example:
            >>> import jax.numpy as jnp, ntkplan
            >>> w, x = jnp.ones((3, 2)), jnp.eye(3)
            >>> kernel = ntkplan.plan(lambda w, x: x @ w, w, x).compile()
            >>> kernel.lower(w, x).compile()(w, x).shape
            (3, 3, 2, 2)
        """
        given = (params, x1) if x2 is None else (params, x1, x2)
        return self._sized.compiled(x1, x2).lower(*given)

    @functools.cached_property
    def _sized(self) -> SizedKernel:
        return self.plan.sized(self.function)


def plan_of(module: Module, fields: Mapping[str, Any]) -> Plan:
    """Returns the plan whose fields were read from JSON."""
    signature = Signature(**signature_of(fields))
    return Plan(
        **records_of(fields),
        signature=signature,
        emit=lambda: module,
        symbolic_work=lambda: Symbolic(**symbolic_of(fields)),
        formulas_of=lambda path: formulas_of(fields, path),
        plan_at=without_model(signature.call),
        printed=module,
    )


def without_model(call: str) -> Callable[[int, int | None], Any]:
    """Returns what plans for other sizes where there is no model: an error.

    Args:
        call: How the plan was made, as Python text.
    """

    def refuse(n1: int, n2: int | None) -> Any:
        raise ModelNeededError(what=f"plan.at(n1={n1}, n2={n2})", call=call)

    return refuse


def frame_of(*outputs: Plan) -> Frame:
    """Returns what a module says of itself: the same plan has the same frame."""
    signature = outputs[0].signature
    every = {item.path for item in tree_inputs(signature.params)}
    found = [plan.approximation for plan in outputs]
    return Frame(
        params=signature.params,
        x=signature.x,
        batch_axis=signature.batch_axis,
        call=signature.call,
        specs=tuple(plan.spec for plan in outputs),
        fixed=frozenset(every - {layer.path for layer in outputs[0].layers}),
        summed=tuple(frozenset(item.paths if item else ()) for item in found),
    )
