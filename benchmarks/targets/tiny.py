"""Tiny batched products on a TPU: as products of matrices, or as products of arrays.

    python -m benchmarks.targets.tiny

Both ways to form a Jacobian are printed as the emitter prints them and compiled for a
TPU v5e that is not there. What the compiler expects of them is compared with the one
that the device's profile prefers. Nothing here is measured.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.environment import environment
from benchmarks.targets.compilers import answers, missing
from benchmarks.targets.devices import TARGETS
from ntkplan.cost.device import load_profile
from ntkplan.cost.formulas import is_entrywise
from ntkplan.cost.profile import DeviceProfile
from ntkplan.cost.work import Operation
from ntkplan.emit.statements import BlockPrinter
from ntkplan.ir.program import Block
from ntkplan.ir.statements import Array, Contract
from ntkplan.methods.contraction import contract_operations

_RESULTS = Path(__file__).resolve().parents[1] / "results"
_TARGET = "tpu_v5e"
_PRECISION = "highest"
_DTYPE = "float32"
_ITEMSIZE = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tiny:
    """A leaf whose Jacobian is formed.

    Attributes:
        examples: Number of examples.
        outputs: Vectors of the output basis.
        positions: Positions that are summed over.
        given: Length of the axis of activations.
        returned: Length of the axis of cotangents.
    """

    examples: int
    outputs: int
    positions: int
    given: int
    returned: int

    @property
    def sizes(self) -> dict[str, int]:
        """Length of every label."""
        return dict(zip("nosxy", dataclasses.astuple(self), strict=True))

    def statement(self, *, entrywise: bool) -> Contract:
        """Returns the statement that forms the Jacobian."""
        return Contract(
            target=Array(name="jacobian1", labels=("n", "o", "y", "x")),
            left=Array(name="cotangents:0:0", labels=("n", "o", "s", "y")),
            right=Array(name="activations:0:0", labels=("n", "s", "x")),
            is_jacobian=True,
            entrywise=entrywise,
        )

    @property
    def operation(self) -> Operation:
        """The product itself, in numbers."""
        statement = self.statement(entrywise=False)
        operations = contract_operations(statement, self.sizes, _ITEMSIZE)
        return next(item for item in operations if item.entrywise)

    def program(self, *, entrywise: bool) -> dict[str, Any]:
        """Returns a program for the compiler."""
        statement = self.statement(entrywise=entrywise)
        block = Block(
            group="",
            comments=(),
            statements=(statement,),
            results=((statement.target, 1.0),),
        )
        names = {"cotangents:0:0": 'c1["layer"]', "activations:0:0": 'a1["layer"]'}
        labels = statement.target.labels
        printer = BlockPrinter(block, labels, names, _PRECISION, _DTYPE, None)
        lines = printer.lines(target="return ")
        body = "\n".join(f"    {line}" for line in lines)

        def shape(array: Array) -> tuple[int, ...]:
            return tuple(self.sizes[label] for label in array.labels)

        return {
            "source": f"import jax.numpy as jnp\ndef contraction(c1, a1):\n{body}\n",
            "arguments": {
                "c1": {"layer": (shape(statement.left), _DTYPE)},
                "a1": {"layer": (shape(statement.right), _DTYPE)},
            },
        }


def _tiny(*sizes: int) -> Tiny:
    examples, outputs, positions, given, returned = sizes
    return Tiny(
        examples=examples,
        outputs=outputs,
        positions=positions,
        given=given,
        returned=returned,
    )


LEAVES = (
    _tiny(1024, 1, 3, 4, 4),
    _tiny(128, 1, 2, 8, 8),
    _tiny(64, 10, 4, 8, 8),
    _tiny(8, 10, 4, 8, 8),
    _tiny(256, 3, 5, 12, 20),
    _tiny(256, 10, 2, 16, 16),
    _tiny(64, 10, 4, 16, 16),
    _tiny(16, 10, 4, 16, 16),
    _tiny(64, 1, 16, 16, 16),
    _tiny(64, 10, 16, 16, 16),
    _tiny(128, 4, 9, 27, 32),
    _tiny(256, 1, 4, 32, 32),
    _tiny(256, 10, 4, 32, 32),
    _tiny(64, 4, 32, 32, 32),
    _tiny(64, 1, 4, 64, 64),
    _tiny(64, 10, 8, 64, 64),
    _tiny(32, 10, 3, 128, 128),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Compiles all of them both ways, writes what came of it and prints a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.targets.tiny")
    parser.add_argument("--out", type=Path, default=_RESULTS / "tiny_tpu_v5e.json")
    given = parser.parse_args(argv)
    target = TARGETS[_TARGET]
    reason = missing(target.compiler)
    if reason:
        print(f"{_TARGET}: {reason}", file=sys.stderr)
        return 2
    programs = [
        leaf.program(entrywise=entrywise)
        for leaf in LEAVES
        for entrywise in (False, True)
    ]
    worker = "benchmarks.targets.worker"
    said = list(answers(target.compiler, worker, _TARGET, programs, target.flags))
    profile = load_profile(_TARGET)
    rows = [
        _row(leaf, profile, said[2 * number : 2 * number + 2])
        for number, leaf in enumerate(LEAVES)
    ]
    regrets = [row["regret_fraction"] for row in rows]
    result = {
        "estimate": "compiler",
        "target": _TARGET,
        "estimated_as": target.estimate,
        "environment": environment(),
        "mean_regret_fraction": sum(regrets) / len(regrets),
        "worst_regret_fraction": max(regrets),
        "rows": rows,
    }
    given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for row in rows:
        print(
            f"{row['leaf']}: {row['product_s'] * 1e6:.3g} us as a product, "
            f"{row['sum_s'] * 1e6:.3g} us as a sum, chosen {row['chosen']}, "
            f"regret {row['regret_fraction']:.1%}"
        )
    print(f"mean regret {result['mean_regret_fraction']:.1%}")
    return 0


def _row(
    leaf: Tiny, profile: DeviceProfile, said: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    product_s, sum_s = (line["estimated_s"] for line in said)
    entrywise = is_entrywise(
        leaf.operation, profile, dtype=_DTYPE, precision=_PRECISION
    )
    chosen_s = sum_s if entrywise else product_s
    return {
        "leaf": dataclasses.asdict(leaf),
        "product_s": product_s,
        "sum_s": sum_s,
        "chosen": "sum" if entrywise else "product",
        "regret_fraction": chosen_s / min(product_s, sum_s) - 1,
    }


if __name__ == "__main__":
    sys.exit(main())
