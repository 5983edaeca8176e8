"""The table of methods. Of two equal candidates the earlier method's is taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ntkplan.ir.use import Layer
from ntkplan.methods import (
    jacobian_contraction,
    ntk_vector_products,
    structured_derivatives,
    sum_of_logits,
)
from ntkplan.methods.candidate import Candidate, Method
from ntkplan.methods.network import Frame

MethodRule = Callable[[Layer, Frame, int], tuple[Candidate, ...]]

METHODS: Mapping[Method, MethodRule] = {
    Method.SUM_OF_LOGITS: sum_of_logits.candidates,
    Method.STRUCTURED_DERIVATIVES: structured_derivatives.candidates,
    Method.JACOBIAN_CONTRACTION: jacobian_contraction.candidates,
    Method.NTK_VECTOR_PRODUCTS: ntk_vector_products.candidates,
}
