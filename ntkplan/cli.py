"""The command line: `ntkplan demo | plan | emit | calibrate | devices`."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import importlib.util
import os
import pathlib
import sys
import tempfile
import textwrap
import warnings
from collections.abc import Sequence
from typing import Any

import rich.box
import rich.console
import rich.table

import ntkplan.api
from ntkplan.calibration.calibrate import (
    NOISE_LIMIT_FRACTION,
    QUICK_BUDGET_S,
    calibrate,
    noise_text,
)
from ntkplan.calibration.machine import find_device, process_age_s
from ntkplan.calibration.progress import progress_bar
from ntkplan.calibration.report import report
from ntkplan.cost.device import choice_for, user_folder
from ntkplan.cost.profile import DeviceProfile
from ntkplan.demo import generated_file, job
from ntkplan.errors import (
    NtkPlanError,
    NtkPlanWarning,
    TooLittleTimeError,
    UnwritableFileError,
)
from ntkplan.files import writing
from ntkplan.named_problem import load_problem

REFERENCE_HELP = (
    "module:function or path/to/file.py:function; function() returns "
    "(f, params, x1) or (f, params, x1, x2), where x1 and x2 may be "
    "jax.ShapeDtypeStruct"
)


FULL_BUDGET_S = 60.0
TOO_NOISY = 3
"""Exit code of a calibration that wrote nothing: too noisy, or out of time."""

_KEPT = (
    "Nothing was written; the rates stay as they were (`ntkplan devices` shows them)."
)

_LEAST_BUDGET_S = 5.0
_EXIT_S = 0.7
"""What the process takes to write the profile and to end."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: What stands behind `ntkplan`; None takes it from the shell.

    Returns:
        0; 2 where the user made a mistake, whose message went to standard error; 3
        where a calibration was too noisy or out of time, and wrote nothing.
    """
    options = build_parser().parse_args(arguments)
    try:
        code = options.run(options)
    except NtkPlanError as error:
        print(f"ntkplan: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever reads has closed the pipe, as `head` does. Python would complain
        # about it once more when it flushes standard output at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code or 0


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
    plan.add_argument(
        "--tune",
        nargs="?",
        type=float,
        const=True,
        metavar="SECONDS",
        help="time the close candidates on this device, in at most 20 s or so many",
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

    add_calibrate_command(commands)

    devices = commands.add_parser(
        "devices", help="list the device profiles, and which one this machine uses"
    )
    devices.set_defaults(run=run_devices)
    return parser


def add_calibrate_command(commands: Any) -> None:
    """Adds `ntkplan calibrate`."""
    command = commands.add_parser(
        "calibrate",
        help="measure this machine's device; its rates are used from then on",
        epilog=f"Where the noise is too high (p90 over {NOISE_LIMIT_FRACTION:.0%}), or "
        "too little is measured in time, nothing is written, the rates stay as they "
        f"were, and the exit code is {TOO_NOISY}.",
    )
    length = command.add_mutually_exclusive_group()
    length.add_argument(
        "--quick",
        action="store_true",
        help=f"take at most {QUICK_BUDGET_S:.0f} s: fewer programs, float32 alone",
    )
    length.add_argument(
        "--budget",
        type=float,
        default=FULL_BUDGET_S,
        metavar="SECONDS",
        help=f"take at most so long, {FULL_BUDGET_S:.0f} where it is left out",
    )
    command.add_argument(
        "--device", help="cpu, gpu or tpu; the one that JAX runs on where left out"
    )
    command.add_argument("--name", help="name of the profile")
    command.add_argument(
        "-o",
        "--output",
        type=pathlib.Path,
        metavar="FILE",
        help="file to write, instead of the one in the user's cache; ends in .toml",
    )
    command.set_defaults(run=run_calibrate)


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
        "--precision",
        help="of every product, the model's own among them: default, high or highest",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        metavar="ERROR",
        help="relative error up to which sum of logits may stand in for leaves",
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


def run_calibrate(options: argparse.Namespace) -> int:
    """Measures, prints, and writes the profile where it is not too noisy."""
    if options.output is not None:
        check_profile_path(options.output)
    budget_s = QUICK_BUDGET_S if options.quick else options.budget
    try:
        profile = _measured(options, budget_s)
    except TooLittleTimeError as error:
        print(
            f"ntkplan: {error.why}, which is what starting up left of the "
            f"{budget_s:.0f} s given: something else is running, or the machine is "
            f"slow. {_KEPT} Calibrate again when the machine is quiet, or give it more "
            "time with --budget SECONDS.",
            file=sys.stderr,
        )
        return TOO_NOISY
    print(report(profile))
    if profile.provenance.noise_p90_fraction > NOISE_LIMIT_FRACTION:
        print(
            f"ntkplan: {noise_text(profile)}: something else was running. {_KEPT} "
            "Calibrate again when the machine is quiet.",
            file=sys.stderr,
        )
        return TOO_NOISY
    path = options.output or user_folder() / f"{profile.name}.toml"
    with writing(path):
        profile.save(path)
    used = "" if options.output else " Plans for this machine use it from now on."
    print(f"Wrote {path}.{used}", file=sys.stderr)
    return 0


def _measured(options: argparse.Namespace, budget_s: float) -> DeviceProfile:
    # Imports are part of what the user waits for.
    left_s = max(_LEAST_BUDGET_S, budget_s - process_age_s() - _EXIT_S)
    with progress_bar() as bar, warnings.catch_warnings():
        # Too much noise is told by the command, together with what follows from it.
        warnings.filterwarnings("ignore", message="noise p90", category=NtkPlanWarning)
        return calibrate(options.device, left_s, name=options.name, progress=bar)


def check_profile_path(path: pathlib.Path) -> None:
    """Makes sure, before a minute is spent, that a profile may be written there.

    Args:
        path: The file; folders that are missing will be made.

    Raises:
        UnwritableFileError: With the reason.
    """
    if path.suffix != ".toml":
        raise UnwritableFileError(
            path=str(path),
            reason="the file of a device profile ends in .toml",
            remedy=f"Write to {path}.toml.",
        )
    there = next(place for place in path.parents if place.exists())
    with writing(path), tempfile.TemporaryFile(dir=there):
        pass


def run_devices(options: argparse.Namespace) -> None:
    """Prints the device profiles, where they come from, and which is used here."""
    profiles = ntkplan.api.devices()
    running = find_device(None)
    used = choice_for(running.platform, running.device_kind, profiles)
    table = rich.table.Table(box=rich.box.SIMPLE_HEAD, pad_edge=False)
    headings = ("name", "platform", "device", "memory", "rates", "date", "noise p90")
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    for profile in profiles:
        noise = profile.provenance.noise_p90_fraction
        table.add_row(
            profile.name,
            str(profile.platform),
            profile.processor or profile.device_kind,
            f"{profile.memory.usable_bytes / 2**30:.1f} GiB",
            str(profile.provenance.origin),
            profile.provenance.date,
            f"{noise:.0%}" if noise else "",
        )
    # Wide enough for every column, however narrow the terminal: a name cut short
    # could not be given to --device.
    rich.console.Console(highlight=False, markup=False, width=200).print(table)
    print(f"Plans for this machine use {used.profile.name}: {used.why}.")
    if not used.same:
        print("`ntkplan calibrate` measures this machine.")
    if used.profile.provenance.noise_p90_fraction > NOISE_LIMIT_FRACTION:
        print(noise_warning(used.profile))
    print()
    for profile in profiles:
        print(remarks(profile))


def noise_warning(profile: DeviceProfile) -> str:
    """Says what it means that a profile in use was measured on a busy machine."""
    return textwrap.fill(
        f"Its rates were measured while the machine was shared, {noise_text(profile)}: "
        "they are the least times over interleaved rounds, which that lengthens less "
        "than the others, and rank methods better than they tell seconds. "
        "`ntkplan calibrate` on a quiet machine replaces them.",
        88,
        break_on_hyphens=False,
    )


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
        "tune",
        "tolerance",
    )
    given = {name: getattr(options, name) for name in names if hasattr(options, name)}
    chosen = {
        name: value
        for name, value in given.items()
        if value is not None or name == "batch_axis"
    }
    return ntkplan.api.plan(*load_problem(options.problem), **chosen)
