"""Prints the plan and the source of models, for a comparison between processes."""

from __future__ import annotations

import sys

import ntkplan
from tests.cases import problem


def printed(name: str) -> str:
    """Returns the table and the source of a model's kernel."""
    f, params, x1, x2 = problem(name)
    plan = ntkplan.plan(f, params, x1, x2)
    return f"{name}\n{plan}\n{plan.source()}\n"


if __name__ == "__main__":
    for case_name in sys.argv[1:]:
        sys.stdout.write(printed(case_name))
