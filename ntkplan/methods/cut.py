"""The orders of a cut: derivatives of the outputs by its values, and their kernel.

    Theta[n,m,o,p] = sum over c, d of C1[n,o,c] H[n,m,c,d] C2[m,p,d]

H is the full kernel of the values at the cut, C their cotangents.
"""

from __future__ import annotations

from ntkplan.ir.statements import Array
from ntkplan.ir.use import Layer
from ntkplan.methods import network
from ntkplan.methods.candidate import Candidate, Method, candidate
from ntkplan.methods.contraction import Tree, lower, members, text, trees
from ntkplan.methods.network import EXAMPLES, Frame

HIDDEN = "hidden:0:0"
"""How statements call the kernel of the values at the cut."""


def candidates(layer: Layer, frame: Frame, itemsize: int) -> tuple[Candidate, ...]:
    """Returns one candidate for every order of the three arrays.

    Args:
        layer: What stands for the leaves behind the cut.
        frame: The labels of the kernel of the outputs.
        itemsize: Bytes of one number.
    """
    (stack,) = layer.stacks
    first, second = (network.side(layer, stack, side, frame) for side in (0, 1))
    arrays = {
        "C1": first.cotangents,
        "H": Array(
            name=HIDDEN,
            labels=(
                *(label for label in EXAMPLES if label in frame.kernel_labels),
                first.cotangents.labels[-1],
                second.cotangents.labels[-1],
            ),
        ),
        "C2": second.cotangents,
    }
    if frame.spec.whole_batch:
        arrays["H"] = Array(name=HIDDEN, labels=arrays["H"].labels[-2:])
    sizes = network.label_sizes(layer, frame)
    found: list[Candidate] = []
    for tree in trees(("C1", "H", "C2")):
        if not _connected(tree, frame):
            continue
        lowered = lower(tree, arrays, frame.kernel_labels, sizes)
        found.append(
            candidate(
                method=Method.STRUCTURED_DERIVATIVES,
                order=text(tree),
                statements=lowered.statements,
                results=[(lowered.result, 1.0)],
                sizes=sizes,
                itemsize=itemsize,
            )
        )
    return tuple(found)


def _connected(tree: Tree, frame: Frame) -> bool:
    """Says whether a tree makes no outer product of all outputs with themselves."""
    joins_cotangents = any(members(part) == frozenset(("C1", "C2")) for part in tree)
    return not joins_cotangents or frame.spec.n_full == 1
