"""The command line: `ntkplan demo | plan | emit | devices`."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.metadata
import importlib.util
import os
import pathlib
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

import rich.box
import rich.console
import rich.table

import ntkplan.api
from ntkplan.cost.profile import DeviceProfile
from ntkplan.demo import generated_file, job
from ntkplan.errors import NtkPlanError, ProblemReferenceError

REFERENCE_HELP = (
    "module:function or path/to/file.py:function; function() returns "
    "(f, params, x1) or (f, params, x1, x2), where x1 and x2 may be "
    "jax.ShapeDtypeStruct"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: What stands behind `ntkplan`; None takes it from the shell.

    Returns:
        0, or 2 where the user made a mistake, whose message went to standard error.
    """
    options = build_parser().parse_args(arguments)
    try:
        options.run(options)
    except NtkPlanError as error:
        print(f"ntkplan: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever reads has closed the pipe, as `head` does. Python would complain
        # about it once more when it flushes standard output at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of all commands; each sets `run`."""
    parser = argparse.ArgumentParser(
        prog="ntkplan",
        description="Plans and writes empirical neural tangent kernels in JAX.",
    )
    version = importlib.metadata.version("ntkplan")
    parser.add_argument("--version", action="version", version=f"ntkplan {version}")
    commands = parser.add_subparsers(metavar="command", required=True)

    demo = commands.add_parser(
        "demo", help="classify handwritten digits with a planned kernel"
    )
    demo.add_argument("--quick", action="store_true", help="use fewer images")
    demo.set_defaults(run=run_demo)

    plan = commands.add_parser("plan", help="print what a kernel costs, leaf by leaf")
    add_problem_options(plan)
    plan.add_argument(
        "--explain",
        metavar="LEAF",
        help="list every candidate of one leaf, by its path in the table",
    )
    plan.set_defaults(run=run_plan)

    emit = commands.add_parser("emit", help="write the kernel as Python source")
    add_problem_options(emit)
    emit.add_argument(
        "-o",
        "--output",
        type=pathlib.Path,
        metavar="FILE",
        help="file to write; standard output where it is left out",
    )
    emit.set_defaults(run=run_emit)

    devices = commands.add_parser("devices", help="list the device profiles there are")
    devices.set_defaults(run=run_devices)
    return parser


def add_problem_options(parser: argparse.ArgumentParser) -> None:
    """Adds the problem and the options of `ntkplan.plan`."""
    parser.add_argument("problem", help=REFERENCE_HELP)
    parser.add_argument(
        "--kernel", help="full (default), trace, diagonal or sum_of_logits"
    )
    parser.add_argument(
        "--device", help="a name that `ntkplan devices` lists, or a profile's file"
    )
    parser.add_argument(
        "--memory-limit", metavar="SIZE", help="most memory at once, as 8GiB"
    )
    parser.add_argument(
        "--precision", help="of every contraction: default, high or highest"
    )
    parser.add_argument(
        "--batch-axis",
        type=parse_batch_axis,
        default=argparse.SUPPRESS,
        metavar="AXIS",
        help="the axis that counts examples (default 0); none: examples interact",
    )
    parser.add_argument(
        "--methods",
        type=parse_methods,
        metavar="NAME,... | GLOB=NAME,...",
        help="the methods allowed; or, by parameter path, those forced",
    )


def parse_batch_axis(text: str) -> int | None:
    """Reads an axis, or `none`."""
    return None if text.lower() == "none" else int(text)


def parse_methods(text: str) -> tuple[str, ...] | dict[str, str]:
    """Reads `name,name` or `glob=name,glob=name`.

    Example:
        >>> parse_methods("jacobian_contraction,ntk_vector_products")
        ('jacobian_contraction', 'ntk_vector_products')
        >>> parse_methods("conv*=structured_derivatives")
        {'conv*': 'structured_derivatives'}
    """
    entries = [entry.strip() for entry in text.split(",")]
    if not any("=" in entry for entry in entries):
        return tuple(entries)
    if not all("=" in entry for entry in entries):
        raise argparse.ArgumentTypeError(
            f"{text!r} mixes names and GLOB=NAME; give one or the other"
        )
    return dict(entry.rsplit("=", 1) for entry in entries)


def run_demo(options: argparse.Namespace) -> None:
    """Runs the demo in the current folder."""
    job.run(pathlib.Path(), quick=options.quick)


def run_plan(options: argparse.Namespace) -> None:
    """Prints a plan, or all candidates of one of its leaves."""
    plan = plan_problem(options)
    print(plan if options.explain is None else plan.explain(options.explain))


def run_emit(options: argparse.Namespace) -> None:
    """Writes a kernel's source, or prints it."""
    if options.output is None:
        print(plan_problem(options).source(), end="")
        return
    generated_file.check_writable(options.output)
    plan_problem(options).save(options.output)
    print(f"Wrote {options.output}.", file=sys.stderr)


def run_devices(options: argparse.Namespace) -> None:
    """Prints the device profiles and where their figures come from."""
    profiles = ntkplan.api.devices()
    table = rich.table.Table(box=rich.box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("name", "platform", "device", "memory", "rates", "date"):
        table.add_column(heading, no_wrap=True)
    for profile in profiles:
        table.add_row(
            profile.name,
            str(profile.platform),
            profile.device_kind,
            f"{profile.memory.usable_bytes / 2**30:.1f} GiB",
            str(profile.provenance.origin),
            profile.provenance.date,
        )
    # Wide enough for every column, however narrow the terminal: a name cut short
    # could not be given to --device.
    rich.console.Console(highlight=False, markup=False, width=200).print(table)
    for profile in profiles:
        print(remarks(profile))


def remarks(profile: DeviceProfile) -> str:
    """Returns a profile's sources and notes, as a paragraph below its name."""
    provenance = profile.provenance
    parts = [*provenance.sources, provenance.notes]
    paragraphs = [
        textwrap.fill(
            part,
            88,
            initial_indent="  ",
            subsequent_indent="    ",
            break_on_hyphens=False,
            break_long_words=False,
        )
        for part in parts
        if part
    ]
    return "\n".join([profile.name, *paragraphs, ""])


def plan_problem(options: argparse.Namespace) -> Any:
    """Plans what the command line names; options that were left out stay so."""
    names = (
        "kernel",
        "device",
        "memory_limit",
        "precision",
        "methods",
        "batch_axis",
    )
    given = {name: getattr(options, name) for name in names if hasattr(options, name)}
    chosen = {
        name: value
        for name, value in given.items()
        if value is not None or name == "batch_axis"
    }
    return ntkplan.api.plan(*load_problem(options.problem), **chosen)


def load_problem(reference: str) -> tuple[Any, ...]:
    """Calls the function that `module:function` or `file.py:function` names.

    Args:
        reference: Modules are looked for in the current folder too.

    Returns:
        `(f, params, x1)` or `(f, params, x1, x2)`.

    Raises:
        ProblemReferenceError: There is no such function, or it returns something else.
    """
    where, _, name = reference.rpartition(":")
    if not where or not name:
        raise ProblemReferenceError(
            reference=reference, reason="a colon with a name on both sides is missing"
        )
    module = load_module(where, reference)
    function: Callable[[], Any] | None = getattr(module, name, None)
    if not callable(function):
        raise ProblemReferenceError(
            reference=reference, reason=f"{where} has no function {name}"
        )
    problem = function()
    if not isinstance(problem, tuple) or len(problem) not in (3, 4):
        what = type(problem).__name__
        if isinstance(problem, tuple):
            what = f"tuple of {len(problem)}"
        raise ProblemReferenceError(
            reference=reference, reason=f"{name}() returned a {what}"
        )
    return problem


def load_module(where: str, reference: str) -> ModuleType:
    """Imports a module by its name, or from its file."""
    if where.endswith(".py"):
        path = pathlib.Path(where)
        if not path.is_file():
            raise ProblemReferenceError(
                reference=reference, reason=f"there is no file {where}"
            )
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        with found_first(path.parent):
            spec.loader.exec_module(module)
        return module
    try:
        with found_first(pathlib.Path()):
            return importlib.import_module(where)
    except ModuleNotFoundError as error:
        # A module that the user's own module misses is their error, shown as it is.
        if error.name is None or not f"{where}.".startswith(f"{error.name}."):
            raise
        raise ProblemReferenceError(
            reference=reference, reason=f"there is no module {error.name}"
        ) from error


@contextlib.contextmanager
def found_first(folder: pathlib.Path) -> Iterator[None]:
    """Lets imports look into a folder first, as `python file.py` does."""
    entry = str(folder.resolve())
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(entry)
