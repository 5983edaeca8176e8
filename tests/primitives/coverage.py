"""What ntkplan does with every primitive that has a derivative: `docs/coverage.md`.

`python -m tests.primitives.coverage` writes the page anew.
"""

from __future__ import annotations

import collections
import dataclasses
import enum
import pathlib
from collections.abc import Iterable

import jax

from ntkplan._jax import CALL_JAXPR_PARAMETER, Primitive, primitives
from ntkplan.rules.entrywise import CALLS, ENTRYWISE
from ntkplan.rules.prefix import PREFIX_RULES
from ntkplan.rules.splits import SPLITS
from ntkplan.rules.table import USE_RULES
from ntkplan.trace.openings import OPENINGS
from tests.primitives import refused, table
from tests.primitives.installed import differentiable_primitives

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "coverage.md"


class Verdict(enum.Enum):
    """What becomes of a parameter that reaches the outputs through a primitive."""

    STRUCTURED = "structured"
    PREFIX = "prefix"
    FOLLOWED = "followed"
    WRITTEN_OUT = "written out"
    OPAQUE = "opaque"
    DATA_ONLY = "data path only"
    REFUSED = "refused"
    PART = "part of another"


MEANING = {
    Verdict.STRUCTURED: "A rule says which axes of result, data and parameter are the "
    "same axis; every method applies.",
    Verdict.PREFIX: "Between the parameter and the equation in which it meets data, "
    "the axes are followed through it.",
    Verdict.FOLLOWED: "A parameter is followed into its bodies, where the other rules "
    "hold.",
    Verdict.WRITTEN_OUT: "A call whose body takes its place.",
    Verdict.OPAQUE: "No rule covers a parameter that enters it: the kernel takes its "
    "Jacobian as a whole, or NTK-vector products, and the plan says so. On the data "
    "path, behind the first product with a parameter, it is like any other.",
    Verdict.DATA_ONLY: "Its derivative is zero, or it has no result: a parameter "
    "reaches nothing through it, and it may stand on the data path.",
    Verdict.REFUSED: "JAX has no reverse mode for it. It may stand where no "
    "parameter's derivative passes; elsewhere it is refused with its line.",
    Verdict.PART: "It stands in the body of another primitive only, or in what JAX "
    "makes of a model later, and is never met by itself.",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the page.

    Attributes:
        name: The primitive's.
        verdicts: What ntkplan does with it.
        remark: What else is to be said.
        tests: Names of the tests that show it.
    """

    name: str
    verdicts: tuple[Verdict, ...]
    remark: str
    tests: tuple[str, ...]

    def __str__(self) -> str:
        verdicts = ", ".join(verdict.value for verdict in self.verdicts)
        tests = ", ".join(f"`{test}`" for test in self.tests)
        return f"| `{self.name}` | {verdicts} | {self.remark} | {tests} |"


# Those with a rule of their own in JAX, which its table of derivatives does not list.
_BESIDES = (
    primitives.custom_jvp_call_p,
    primitives.custom_vjp_call_p,
)

_ZERO = (
    "and argmax argmin bitcast_convert_type ceil debug_callback eq floor ge gt "
    "is_finite le lt mulhi ne not or random_bits random_fold_in random_seed "
    "random_split random_unwrap random_wrap round shift_left shift_right_arithmetic "
    "shift_right_logical sign stop_gradient xor"
)
_DATA_ONLY = frozenset(_ZERO.split())

_REMARKS = {
    "add_any": "the sum of cotangents in a model that holds derivatives",
    "approx_top_k": "the values it chooses",
    "cond": "`switch` too; where examples choose, JAX makes it a `select_n`",
    "conv_general_dilated": "a parameter as the kernel; as the input where no windows "
    "overlap, opaque elsewhere",
    "custom_jvp_call": "structured where it is elementwise, opaque elsewhere; the "
    "user's derivative is kept",
    "custom_vjp_call": "structured where it is elementwise, opaque elsewhere; the "
    "user's derivative is kept",
    "debug_callback": "left out of the kernel",
    "eig": "eigenvalues; eigenvectors are refused",
    "ffi_call": "give it a derivative with `jax.custom_vjp`",
    "fft": "complex intermediates, real parameters",
    "pallas_call": "give it a derivative with `jax.custom_vjp`",
    "polygamma": "by its second argument; by its order it is refused",
    "pure_callback": "give it a derivative with `jax.custom_vjp`",
    "random_gamma": "by the shape parameter",
    "ragged_dot_general": "JAX cannot pull several cotangents back through it",
    "reduce_window": "with a computation other than sum, maximum and minimum",
    "regularized_incomplete_beta": "by `x`; by `a` and `b` it is refused",
    "scan": "`fori_loop` with a static count too",
    "select_and_gather_add": "called by reference",
    "select_and_scatter_add": "called by reference",
    "shard_map": "called by reference",
    "svd": "full matrices of a rectangle are refused",
    "while": "`fori_loop` with a dynamic count too",
}

# What is met in the body of another primitive only, and where.
_INSIDE = {
    "`shard_map`": "all_gather all_gather_invariant all_gather_reduced all_to_all "
    "pbroadcast ppermute preduced psum psum_invariant pvary ragged_all_to_all "
    "reduce_scatter reduced_vary_cast_p unreduced_psum unreduced_reduce_scatter "
    "vary_unreduced_cast_p",
    "`pallas_call`": "masked_load masked_swap",
    "a model with references, which is refused": "accum_grad_in_ref addupdate box_get "
    "box_set empty_ref for free_ref freeze get log_extend log_read new_box new_log "
    "run_state swap",
    "`checkify`, which takes it out": "check",
    "what JAX makes of a derivative or a compilation": "call_hi_primitive dce_sink "
    "eq_to eval_jaxpr from_edtype le_to lt_to mpmd_map remat_opt stage tie to_edtype",
    "a model for several devices, as a hint": "layout_constraint mesh_cast reshard",
    "a model that prints, and is left out of the kernel": "debug_print "
    "inspect_sharding",
}
_HOSTS = {name: host for host, names in _INSIDE.items() for name in names.split()}
_SHOWN_INSIDE = {
    "`shard_map`": ("data_path[shard_map]",),
    "`pallas_call`": ("refused[pallas_call]",),
    "a model with references, which is refused": ("refused[new_ref]",),
    "a model that prints, and is left out of the kernel": (
        "data_path[debug_callback]",
    ),
}


def _tests() -> dict[str, list[str]]:
    """Returns, for every primitive, the tests whose models hold it."""
    found: dict[str, list[str]] = collections.defaultdict(list)
    for model in table.MODELS:
        for name in model.primitives:
            found[name].append(f"data_path[{model.name}]")
    for model in refused.MODELS:
        found[model.primitive].append(f"refused[{model.name}]")
    return found


def verdicts_of(primitive: Primitive, tests: Iterable[str]) -> tuple[Verdict, ...]:
    """Returns what ntkplan does with a primitive, read from its tables.

    Args:
        primitive: The primitive.
        tests: Names of the tests that show it.

    Returns:
        Nothing where it is in no table and no test shows it.
    """
    shown = list(tests)
    if primitive.name in _HOSTS:
        return (Verdict.PART,)
    if primitive.name in _DATA_ONLY and shown:
        return (Verdict.DATA_ONLY,)
    if primitive.name in refused.ALWAYS:
        return (Verdict.REFUSED,)
    found = []
    if primitive in USE_RULES or primitive in ENTRYWISE or primitive in CALLS:
        found.append(Verdict.STRUCTURED)
    if primitive in PREFIX_RULES or primitive in ENTRYWISE or primitive in SPLITS:
        found.append(Verdict.PREFIX)
    if primitive in OPENINGS:
        found.append(Verdict.FOLLOWED)
    if primitive in CALL_JAXPR_PARAMETER and primitive not in OPENINGS:
        found = [Verdict.WRITTEN_OUT]
    if not found and any(test.startswith("data_path") for test in shown):
        found.append(Verdict.OPAQUE)
    return tuple(found)


def rows() -> list[Row]:
    """Returns the lines of the page for the installed JAX.

    Raises:
        LookupError: It has primitives of which nothing is known here.
    """
    tests = _tests()
    found, unknown = [], []
    listed = {**differentiable_primitives(), **{p.name: p for p in _BESIDES}}
    for name, primitive in sorted(listed.items()):
        shown = tests.get(name, [])
        verdicts = verdicts_of(primitive, shown)
        if not verdicts:
            unknown.append(name)
        host = _HOSTS.get(name)
        remark = _REMARKS.get(name, "") if host is None else f"in {host}"
        shown = shown if host is None else _SHOWN_INSIDE.get(host, ())
        found.append(
            Row(name=name, verdicts=verdicts, remark=remark, tests=tuple(shown[:3]))
        )
    if unknown:
        raise LookupError(
            f"JAX {jax.__version__} has primitives with a derivative that no test "
            f"shows: {', '.join(unknown)}.\nGive each a model in "
            "tests/primitives/, or say in tests/primitives/coverage.py what it is "
            "part of."
        )
    return found


def page() -> str:
    """Returns the text of `docs/coverage.md`."""
    found = rows()
    counts = collections.Counter(row.verdicts[0] for row in found)
    meanings = "\n".join(
        f"- **{verdict.value}** ({counts[verdict]}): {MEANING[verdict]}"
        for verdict in Verdict
        if any(verdict in row.verdicts for row in found)
    )
    lines = "\n".join(map(str, found))
    return f"""# What is covered: every primitive with a derivative

Written by `python -m tests.primitives.coverage` with JAX {jax.__version__}; a test
checks that it is what the tables of ntkplan say. Each line tells what becomes of a
parameter that enters the primitive. In brackets: how many of the {len(found)}
primitives are so in the first place.

{meanings}

The tests are those of `tests/primitives/`: `data_path[...]` compares the kernel of a
model with the primitive between a parameter and the outputs with the dense float64
Jacobian's at 1e-10, `refused[...]` checks the message.

| Primitive | What ntkplan does with it | Remark | Tests |
|---|---|---|---|
{lines}
"""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
