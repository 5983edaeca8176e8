"""`empirical_ntk_vp_fn`: the kernel times a vector, the kernel never formed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from ntkplan.drop_in.keyword_arguments import split_keyword_arguments
from ntkplan.signature import check_tree


def empirical_ntk_vp_fn(
    f: Callable[..., Any], x1: Any, x2: Any, params: Any, **apply_fn_kwargs: Any
) -> Callable[[Any], Any]:
    """Returns a function that multiplies the kernel by a vector.

    It is called and returns what `neural_tangents.empirical_ntk_vp_fn` 0.6.5 is called
    and returns: the full kernel of `x1` with `x2`, without any mean, contracted with
    the second member of each pair of axes. One pull-back at `x2` and one push-forward
    at `x1` do it, in the memory of these. Examples may interact.

    Args:
        f: The model, `f(params, x, **keywords)`.
        x1: Examples, an array or a tree of arrays.
        x2: Other examples, or None for `x1` again.
        params: Parameters.
        **apply_fn_kwargs: Keyword arguments of the model, dealt out as
            `empirical_ntk_fn` does.

    Returns:
        `ntk_vp_fn(cotangents)`, from a tree like `f(params, x2)` to one like
        `f(params, x1)`. It raises `MismatchedInputsError` for any other tree.

    Raises:
        KeywordArgumentError: `rng` is no random key.

    Example:
        >>> import jax.numpy as jnp
        >>> x1, x2 = jnp.eye(2), jnp.array([[1.0, 1.0]])
        >>> product = empirical_ntk_vp_fn(lambda w, x: x @ w, x1, x2, jnp.ones((2, 1)))
        >>> product(jnp.array([[3.0]])).tolist()
        [[3.0], [3.0]]
    """
    x2 = x2 if jax.tree.leaves(x2) else None
    keywords1, keywords2 = split_keyword_arguments(apply_fn_kwargs, x1, x2)

    def f1(params: Any) -> Any:
        return f(params, x1, **keywords1)

    def f2(params: Any) -> Any:
        return f(params, x2, **keywords2)

    at_x2 = f1 if x2 is None else f2

    def ntk_vp_fn(cotangents: Any) -> Any:
        """Multiplies the kernel by a vector.

        Args:
            cotangents: A tree like `f(params, x2)`.

        Returns:
            A tree like `f(params, x1)`.

        Raises:
            MismatchedInputsError: The cotangents are no such tree.
        """
        outputs, pull_back = jax.vjp(at_x2, params)
        check_tree("cotangents", cotangents, outputs, batch_axis=None)
        (tangents,) = pull_back(cotangents)
        return jax.jvp(f1, (params,), (tangents,))[1]

    return ntk_vp_fn
