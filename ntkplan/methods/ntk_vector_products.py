"""NTK-vector products: pull a basis vector back at x2, push its tangent forward at x1.

Novak, Sohl-Dickstein, Schoenholz 2022, "Fast Finite Width Neural Tangent Kernel",
section 3.2. All leaves that are computed so share one push forward, whose work belongs
to the set and not to a leaf; the planner adds it.
"""

from __future__ import annotations

from ntkplan.cost.work import Work
from ntkplan.ir.use import Layer
from ntkplan.methods.candidate import Candidate, Method
from ntkplan.methods.network import Frame


def candidates(layer: Layer, frame: Frame, itemsize: int) -> tuple[Candidate, ...]:
    """Returns the one candidate of this method.

    None where the leaf's tangent meets a function with a backward rule alone.
    """
    del frame, itemsize
    if layer.no_forward is not None:
        return ()
    return (
        Candidate(
            method=Method.NTK_VECTOR_PRODUCTS,
            order="pull back, push forward",
            statements=(),
            results=(),
            work=Work(),
            symmetric_work=Work(),
        ),
    )
