"""An exported kernel: two programs of `jax.export`, and what they take."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.export

from ntkplan._jax import is_traced
from ntkplan.compiling import called, jitted
from ntkplan.errors import ExportPlatformError, MismatchedInputsError
from ntkplan.export.file import file_bytes, read_file
from ntkplan.export.sizes import Sizes
from ntkplan.export.trees import LeafSpec, checked_leaves, count, from_json
from ntkplan.files import given_path, writing


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ExportedProgram:
    """One program, for `x1` alone or for `x1` and `x2`.

    Attributes:
        sizes: Which numbers of examples it takes.
        serialized: What `jax.export` writes of it.
    """

    sizes: Sizes
    serialized: bytes

    @functools.cached_property
    def function(self) -> Callable[..., Any]:
        """The program, a function of the leaves of its arguments."""
        return jax.jit(jax.export.deserialize(bytearray(self.serialized)).call)

    @functools.cached_property
    def compiled(self) -> Any:
        """The same, compiled without what this installation's compiler gets wrong."""
        return jitted(self.function)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Export:
    """A kernel as JAX exports it: StableHLO, which runs without model and plan.

    Call it as a compiled kernel, `export(params, x1, x2=None)`, also under `jit`. JAX
    knows no derivatives of exported programs, and no `vmap` over them.

    Attributes:
        headline: What the kernel is, in words.
        platforms: What it runs on, as `jax.export` names platforms.
        params: The leaves of `params`, in their order.
        x: The leaves of `x1` and of `x2`.
        batch_axis: The example axis of every array of `x1`, or None.
        matched: Whether example i of `x1` meets example i of `x2` alone.
        outputs: The paths of the model's outputs; one empty path for an array.
        tree: The tree of the outputs, as `trees.to_json` writes it; None where it has
            types of its own, and the kernel returns a dictionary by path.
        alone: The program for `x1` without `x2`.
        pair: The program for `x1` and `x2`.
        versions: Of ntkplan and JAX, which wrote it.
    """

    headline: str
    platforms: tuple[str, ...]
    params: tuple[LeafSpec, ...]
    x: tuple[LeafSpec, ...]
    batch_axis: int | None
    matched: bool
    outputs: tuple[str, ...]
    tree: Any
    alone: ExportedProgram
    pair: ExportedProgram
    versions: Mapping[str, str]

    def __str__(self) -> str:
        """Says what it is, where it runs, and for how many examples."""
        lines = [
            self.headline,
            f"exported for {', '.join(self.platforms)}",
            f"x1 alone: {self.alone.sizes.describe()}",
            f"x1 and x2: {self.pair.sizes.describe()}",
        ]
        if self.tree is None:
            listed = ", ".join(self.outputs)
            lines.append(f"returns a dictionary by output: {listed}")
        written = ", ".join(f"{name} {at}" for name, at in self.versions.items())
        return "\n".join([*lines, f"written by {written}"])

    def __call__(self, params: Any, x1: Any, x2: Any = None) -> Any:
        """Computes the kernel.

        Args:
            params: Parameters, with the leaves that it was exported for: a tree with
                the same paths, or a list of all leaves in their order.
            x1: Examples.
            x2: Other examples, or None for `x1` itself.

        Returns:
            The kernel `[n1, n2, ...]`, or the tree of the outputs' kernels.

        Raises:
            MismatchedInputsError: Something has not the shape that was exported.
            ExportPlatformError: The examples are on another platform.
        """
        leaves = [checked_leaves("params", params, self.params)]
        leaves.append(checked_leaves("x1", x1, self.x))
        if x2 is not None:
            leaves.append(checked_leaves("x2", x2, self.x))
        program = self.alone if x2 is None else self.pair
        self._check_counts(program.sizes, leaves[1:])
        _check_platform(leaves[1][0], self.platforms)
        kernels = called(program.function, program.compiled, *leaves)
        if self.tree is None:
            return dict(zip(self.outputs, kernels, strict=True))
        return from_json(self.tree, kernels)

    def _check_counts(self, sizes: Sizes, sides: list[list[Any]]) -> None:
        if self.batch_axis is None:
            return
        counts = [
            count(name, leaves, self.batch_axis)
            for name, leaves in zip(("x1", "x2"), sides, strict=False)
        ]
        if self.matched and len(set(counts)) > 1:
            raise MismatchedInputsError(
                what='the number of examples in x2 with pairs="matched"',
                got=counts[1],
                wanted=counts[0],
                hint="Pass as many examples in x2 as in x1",
            )
        sizes.check(counts[0], counts[1] if len(counts) > 1 else None)

    def serialize(self) -> bytes:
        """Returns what `save` writes."""
        return file_bytes(
            {
                "headline": self.headline,
                "platforms": self.platforms,
                "params": [dataclasses.asdict(leaf) for leaf in self.params],
                "x": [dataclasses.asdict(leaf) for leaf in self.x],
                "batch_axis": self.batch_axis,
                "matched": self.matched,
                "outputs": self.outputs,
                "tree": self.tree,
                "alone": dataclasses.asdict(self.alone.sizes),
                "pair": dataclasses.asdict(self.pair.sizes),
                "versions": dict(self.versions),
            },
            {"alone": self.alone.serialized, "pair": self.pair.serialized},
        )

    def save(self, path: str | Path) -> Path:
        """Writes a file that `ntkplan.load_export` reads.

        Args:
            path: Where to; a file that is there is replaced.

        Returns:
            The path.

        Raises:
            UnwritableFileError: The file cannot be written.
        """
        target = given_path(path)
        with writing(target):
            target.write_bytes(self.serialize())
        return target


def load_export(path: str | Path) -> Export:
    """Reads a kernel that `plan.export(...).save(path)` wrote.

    Args:
        path: The file.

    Returns:
        The kernel, to be called as `kernel(params, x1, x2=None)`. Neither the model nor
        its plan is needed.

    Raises:
        ExportFileError: The file is none of these, is damaged, or is of a newer
            ntkplan or JAX.
        MissingExtraError: `flatbuffers` is not installed.
    """
    fields, programs = read_file(given_path(path))
    return Export(
        headline=fields["headline"],
        platforms=tuple(fields["platforms"]),
        params=_leaves(fields["params"]),
        x=_leaves(fields["x"]),
        batch_axis=fields["batch_axis"],
        matched=fields["matched"],
        outputs=tuple(fields["outputs"]),
        tree=fields["tree"],
        alone=ExportedProgram(
            sizes=Sizes(**fields["alone"]), serialized=programs["alone"]
        ),
        pair=ExportedProgram(
            sizes=Sizes(**fields["pair"]), serialized=programs["pair"]
        ),
        versions=fields["versions"],
    )


def _leaves(listed: list[dict[str, Any]]) -> tuple[LeafSpec, ...]:
    return tuple(
        LeafSpec(path=one["path"], shape=tuple(one["shape"]), dtype=one["dtype"])
        for one in listed
    )


def _check_platform(array: Any, platforms: tuple[str, ...]) -> None:
    """Checks where the examples are, where that is known.

    Raises:
        ExportPlatformError: The kernel was not exported for it.
    """
    if is_traced(array):
        return
    devices = array.devices() if isinstance(array, jax.Array) else jax.devices()[:1]
    found = next(iter(devices)).platform
    same = ("cuda", "rocm") if found == "gpu" else (found,)
    if not set(same) & set(platforms):
        raise ExportPlatformError(platform=found, platforms=platforms)
