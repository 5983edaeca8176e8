"""The trace kernel, estimated without bias from random signs over the outputs.

Hutchinson's estimate. With signs v, E[v vᵀ] = I, so that

    (1/O) Σ_o J_o(x1) J_o(x2)ᵀ  =  (1/O) E[(J(x1)ᵀ v) · (J(x2)ᵀ v)]

and one sample costs one pull-back per example in the place of O.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy

from ntkplan.api import plan
from ntkplan.arguments import (
    parse_batch_axis,
    require_arrays,
    require_function,
    require_predicate,
    whole_number,
)
from ntkplan.errors import (
    ArgumentTypeError,
    ConflictingOptionsError,
    InvalidSizeError,
    OutputError,
)
from ntkplan.trace.build import output_shapes
from ntkplan.trace.leaves import Predicate

# Where the signs stand beside the parameters.
_PARAMS, _SIGNS = "0", "1"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TraceEstimate:
    """An estimate of the trace kernel.

    Attributes:
        kernel: The mean over the samples, `[n1, n2]`, or `[n]` for matched pairs.
        standard_error: Of every entry of that: the samples' standard deviation over the
            square root of their number.
        n_samples: How many there were.
    """

    kernel: numpy.ndarray
    standard_error: numpy.ndarray
    n_samples: int


def trace_estimate(
    f: Callable[..., Any],
    params: Any,
    x1: Any,
    x2: Any = None,
    *,
    key: jax.Array,
    n_samples: int = 16,
    wrt: Predicate | None = None,
    methods: Any = None,
    **options: Any,
) -> TraceEstimate:
    """Estimates the trace kernel from random signs over the outputs, without bias.

    It is a function of its own, and no `kernel=` of `plan`: what it returns is random,
    comes with an error, and takes a key. It pays where there are many more outputs than
    samples. The samples share one compiled kernel.

    Args:
        f: The model, `f(params, x)`.
        params: Its parameters.
        x1: Examples.
        x2: Other examples, or None for the kernel of `x1` with itself.
        key: Random key of the signs.
        n_samples: How many vectors of signs to draw, at least 2. The standard error is
            estimated from them too: of a few it says little, from about ten on it does.
        wrt: Which leaves are differentiated, as for `plan`.
        methods: As for `plan`.
        **options: Others of `plan`, without `kernel` and its axes.

    Returns:
        The mean and its standard error.

    Raises:
        NtkPlanError: Something is wrong with the input; the message says what to do.

    Example:
        >>> import jax.numpy as jnp
        >>> f = lambda w, x: jnp.tanh(x @ w)
        >>> key = jax.random.key(0)
        >>> found = trace_estimate(f, jnp.ones((3, 8)), jnp.eye(3), key=key)
        >>> found.kernel.shape, found.standard_error.shape, found.n_samples
        ((3, 3), (3, 3), 16)
    """
    _require_samples(n_samples)
    _require_estimable(options)
    _require_key(key)
    require_function("f", f, "a function f(params, x)")
    require_predicate(wrt)
    for name, tree in (("params", params), ("x1", x1)):
        require_arrays(name, tree)
    batch_axis = parse_batch_axis(options.get("batch_axis", 0))
    output = _one_output(output_shapes(f, params, x1, batch_axis=batch_axis))
    shape = output.shape[1:]

    def signed(params_and_signs: Any, x: Any) -> jax.Array:
        given, signs = params_and_signs
        weighted = f(given, x) * (signs / math.sqrt(math.prod(shape)))
        return weighted.reshape(weighted.shape[0], -1).sum(1, keepdims=True)

    def chosen(path: str, leaf: Any) -> bool:
        if path == _SIGNS:
            return False
        own = path.removeprefix(_PARAMS).removeprefix("/")
        return wrt is None or wrt(own, leaf)

    signs = jax.random.rademacher(key, (n_samples, *shape), output.dtype)
    kernel = plan(
        signed,
        (params, signs[0]),
        x1,
        x2,
        kernel="trace",
        wrt=chosen,
        methods=_inside(methods),
        **options,
    ).compile()
    return _estimate(kernel((params, each), x1, x2) for each in signs)


def _estimate(samples: Iterable[Any]) -> TraceEstimate:
    """Returns the mean of kernels, of which one is held at a time, and its error."""
    # In float64: the standard error is a small difference of the samples.
    mean = numpy.zeros(())
    squares = numpy.zeros(())
    count = 0
    for count, each in enumerate(samples, start=1):
        sample = numpy.asarray(each, "float64")
        difference = sample - mean
        mean = mean + difference / count
        squares = squares + difference * (sample - mean)
    variance = squares / (count - 1)
    return TraceEstimate(
        kernel=mean, standard_error=numpy.sqrt(variance / count), n_samples=count
    )


def _require_samples(n_samples: Any) -> None:
    """Checks that there are enough samples for an error."""
    if whole_number("n_samples", n_samples) < 2:
        raise InvalidSizeError(
            what=f"n_samples is {n_samples}",
            hint="Draw at least 2, or there is no standard error",
        )


def _require_estimable(options: Mapping[str, Any]) -> None:
    """Checks that no other kernel than the trace was asked for."""
    taken = {"kernel", "trace_axes", "diagonal_axes", "tolerance"} & set(options)
    if taken:
        raise ConflictingOptionsError(
            what=f"trace_estimate was given {', '.join(sorted(taken))}",
            hint='Leave it out: what is estimated is kernel="trace"',
        )


def _one_output(output: Any) -> jax.ShapeDtypeStruct:
    """Checks that a model returns one array."""
    if not isinstance(output, jax.ShapeDtypeStruct):
        raise OutputError(
            why=f"f returns {jax.tree.structure(output)}, and one array is estimated",
            hint="return one of the arrays, and estimate the others apart",
        )
    return output


def _require_key(key: Any) -> None:
    """Checks that a random key is one, of the new kind or of the old."""
    is_array = hasattr(key, "dtype") and hasattr(key, "shape")
    if is_array and jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key):
        if key.shape == ():
            return
    elif is_array and key.dtype == numpy.uint32 and len(key.shape) == 1:
        return
    raise ArgumentTypeError(
        name="key",
        value=key,
        wanted="one random key",
        hint="Make one with jax.random.key(0)",
    )


def _inside(methods: Any) -> Any:
    """Returns `methods=` for params that stand beside the signs."""
    if not isinstance(methods, Mapping):
        return methods
    return {f"{_PARAMS}/{pattern}": name for pattern, name in methods.items()}
