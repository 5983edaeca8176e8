"""The emitted self-check: the kernel against dense Jacobians of its forward pass."""

from __future__ import annotations

import dataclasses
import math
import string
from collections.abc import Sequence

from ntkplan.emit.expression import (
    Expression,
    atom,
    call,
    followed,
    indented,
    sequence,
    statement,
)
from ntkplan.emit.layout import INDENT, WIDTH
from ntkplan.emit.nested_params import NEST
from ntkplan.emit.precision import SIXTEEN_BITS, rounding
from ntkplan.emit.shape_checks import Shapes
from ntkplan.emit.shape_table import FIXED
from ntkplan.ir.kernel import KernelSpec

N1, N2 = 3, 2
"""Examples that are checked."""

_MOST_NUMBERS = 2**29
_WIDTH = WIDTH - len(INDENT)
_WIDE = ("float64", "int64", "uint64", "complex128")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckedOutput:
    """A kernel function of the module, and the forward pass that it is of.

    Attributes:
        suffix: What stands behind the names of this output's functions.
        kernel: The kernel function's name.
        forward: The flat outputs of one example, in `params` and `x`.
        spec: The kernel.
        mark: Marks the leaves for which sum of logits stands in.
    """

    suffix: str
    kernel: str
    forward: Expression
    spec: KernelSpec
    mark: str

    @property
    def n_outputs(self) -> int:
        """Outputs of one example."""
        return math.prod(self.spec.output_shape)


def check_sections(
    shapes: Shapes, outputs: Sequence[CheckedOutput], precision: str, *, rough: bool
) -> list[str]:
    """Prints the dense kernels, random arguments, and the comparison.

    Args:
        shapes: What the kernels take.
        outputs: The kernels.
        precision: That of their products.
        rough: Whether the model computes in 16 bits.
    """
    worst = tolerance(shapes, precision, rough=rough)
    dense = ["\n\n" + "\n".join(_dense_lines(shapes, output)) for output in outputs]
    random = "\n\n" + "\n".join(_random_lines(shapes))
    return [random, *dense, "\n\n" + "\n".join(_main_lines(shapes, outputs, worst))]


def tolerance(shapes: Shapes, precision: str, *, rough: bool) -> float:
    """Returns the relative error that rounding explains.

    It is that of the least exact data type, or of products of less precision.
    """
    dtypes = {text.partition("[")[0] for text in shapes.texts}
    if rough or dtypes & set(SIXTEEN_BITS):
        return 0.05
    return max(1e-3, rounding(precision)) if "float32" in dtypes else 1e-8


def _random_lines(shapes: Shapes) -> list[str]:
    keys = any(text.startswith("key<") for text in shapes.texts)
    whole = any("int" in text or "bool" in text for text in shapes.texts)
    other = whole or any(text.startswith("complex") for text in shapes.texts)
    lines = [
        "def random_like(planned, seed, n=None):",
        '    """Random arrays; vectors are positive, as variances have to be."""',
        "    rng = numpy.random.default_rng(seed)",
        "",
        "    def draw(text):",
        '        dtype, sizes = text.split("]")[0].split("[")',
        '        shape = [int(n if k == "n" else k) for k in sizes.split(",") if k]',
    ]
    if keys:
        lines += [
            '        if dtype.startswith("key"):',
            "            return jax.random.split(jax.random.key(seed), shape)",
        ]
    if other:
        lines += [
            "        if not jnp.issubdtype(dtype, jnp.floating):",
            "            return jnp.asarray(rng.integers(2, size=shape), dtype)",
        ]
    return [
        *lines,
        "        if n is None and len(shape) < 2:",
        "            return jnp.asarray(rng.uniform(0.5, 1.5, shape), dtype)",
        "        scale = 1.0 if n else numpy.prod(shape[:-1]) ** -0.5",
        "        return jnp.asarray(scale * rng.normal(size=shape), dtype)",
        "",
        "    return jax.tree.map(draw, planned)",
    ]


def _dense_lines(shapes: Shapes, output: CheckedOutput) -> list[str]:
    """Prints `dense_kernel(params, x1, x2)` of one output."""
    docstring = f'"""The kernel by dense Jacobians, to check `{output.kernel}` with."""'
    if len(docstring) > WIDTH:
        docstring = '"""The kernel by dense Jacobians."""'
    lines = [
        "@jax.jit",
        f"def dense_kernel{output.suffix}(params, x1, x2):",
        f"    {docstring}",
    ]
    outputs, given = _outputs_lines(shapes, output)
    lines += [f"    {NEST}"] * shapes.params.nested
    return [*lines, *outputs, *_jacobian_lines(shapes, output, given)]


def _outputs_lines(shapes: Shapes, output: CheckedOutput) -> tuple[list[str], str]:
    """Prints the function of the leaves that are differentiated, and their name."""
    value = output.forward
    if output.spec.sums_logits:
        value = followed(value, f".sum() / {output.n_outputs}**0.5")
    few = few_outputs(shapes, output)
    if few is not None:
        value = followed(value, f"[:{few}]")
    returned = indented(indented(statement("return ", value, _WIDTH)))
    if FIXED not in shapes.marks:
        return ["", "    def outputs(params, x):", *returned, ""], "params"
    return [
        '    fixed = ["fixed" in text for text in jax.tree.leaves(PARAMS)]',
        "    leaves, tree = jax.tree.flatten(params)",
        "    free = [leaf for leaf, held in zip(leaves, fixed) if not held]",
        "",
        "    def outputs(free, x):",
        "        rest = iter(free)",
        "        pairs = zip(leaves, fixed)",
        "        merged = [leaf if held else next(rest) for leaf, held in pairs]",
        "        params = tree.unflatten(merged)",
        *returned,
        "",
    ], "free"


def _jacobian_lines(shapes: Shapes, output: CheckedOutput, given: str) -> list[str]:
    spec = output.spec
    if is_by_output(shapes, output):
        return _by_output_lines(shapes, output, given)
    sizes = () if spec.sums_logits else spec.output_shape
    few = few_outputs(shapes, output)
    if few is not None:
        sizes = (few,)
    lead = () if spec.whole_batch else ("len(rows)",)
    shape = ", ".join([*lead, *map(str, sizes), "-1"])
    wide = _widened(shapes)
    leaves = _leaves(shapes, output, "jax.jacrev(outputs)", given)
    lines = [
        "    def jacobians(x):",
        f"        leaves = {leaves}",
        f"        return [rows.reshape({shape}){wide} for rows in leaves]",
        "",
    ]
    equation = einsum_equation(spec)
    divided = f" / {spec.n_trace}" * (spec.n_trace > 1)
    if output.mark in shapes.marks:
        return [*lines, *_summed_lines(output, f'"{equation}"', divided)]
    return [
        *lines,
        "    sides = zip(jacobians(x1), jacobians(x2))",
        f'    return sum(jnp.einsum("{equation}", *pair) for pair in sides){divided}',
    ]


def _widened(shapes: Shapes) -> str:
    short = any(text.startswith(SIXTEEN_BITS) for text in shapes.texts)
    return ".astype(jnp.float32)" if short else ""


def _leaves(shapes: Shapes, output: CheckedOutput, function: str, given: str) -> str:
    """Returns Python text of a derivative's leaves, for all examples."""
    if not output.spec.whole_batch:
        function = f"jax.vmap({function}, (None, {shapes.batch_axis}))"
    return f"jax.tree.leaves({function}({given}, x))"


def _n_numbers(shapes: Shapes) -> int:
    """Returns how many numbers the Jacobians have for each output."""
    examples = 2 if shapes.batch_axis is None else N1 + N2
    shapes_of_free = [
        text.partition("[")[2].partition("]")[0]
        for text in shapes.params.texts
        if FIXED not in text.split()
    ]
    return examples * sum(
        math.prod(int(size) for size in sizes.split(",") if size)
        for sizes in shapes_of_free
    )


def is_by_output(shapes: Shapes, output: CheckedOutput) -> bool:
    """Says whether outputs are differentiated one by one, to take less memory.

    They can be where outputs meet none but themselves.
    """
    spec = output.spec
    meets_others = spec.sums_logits or spec.full_axes or output.mark in shapes.marks
    too_many = _n_numbers(shapes) * output.n_outputs > _MOST_NUMBERS
    return too_many and not meets_others


def few_outputs(shapes: Shapes, output: CheckedOutput) -> int | None:
    """Returns how many outputs are checked, where all of them would be too many.

    None stands for all.
    """
    spec = output.spec
    if spec.sums_logits or spec.full_axes != (0,) or len(spec.output_shape) > 1:
        return None
    if spec.whole_batch or output.suffix or output.mark in shapes.marks:
        return None
    few = max(1, _MOST_NUMBERS // _n_numbers(shapes))
    return few if few < output.n_outputs else None


def _by_output_lines(shapes: Shapes, output: CheckedOutput, given: str) -> list[str]:
    spec = output.spec
    wide = _widened(shapes)
    examples = "" if spec.whole_batch else "n" if spec.matched else "nm"
    lead = "" if spec.whole_batch else "len(rows), "
    pair = {"": "z,z->", "n": "nz,nz->n", "nm": "nz,mz->nm"}[examples]
    letters = [x for x in string.ascii_lowercase if x not in "nmz"]
    axes = letters[: len(spec.output_shape)]
    kept = "".join(letters[axis] for axis in spec.diagonal_axes)
    sizes = ", ".join(map(str, spec.output_shape))
    divided = f" / {spec.n_trace}" * (spec.n_trace > 1)
    return [
        "    def part(index):  # all Jacobians at once would take too much memory",
        f"        def output({given}, x):",
        f"            return outputs({given}, x)[index]",
        "",
        "        def gradients(x):",
        f"            leaves = {_leaves(shapes, output, 'jax.grad(output)', given)}",
        f"            return [rows.reshape({lead}-1){wide} for rows in leaves]",
        "",
        "        sides = zip(gradients(x1), gradients(x2))",
        f'        return sum(jnp.einsum("{pair}", *pair) for pair in sides)',
        "",
        f"    parts = jax.lax.map(part, jnp.arange({output.n_outputs}))",
        f"    parts = parts.reshape({sizes}, *parts.shape[1:])",
        f'    return jnp.einsum("{"".join(axes)}{examples}->{examples}{kept}", parts)'
        f"{divided}",
    ]


def _summed_lines(output: CheckedOutput, equation: str, divided: str) -> list[str]:
    """Prints the sum in which sum of logits, K ⊗ I, stands in for some leaves."""
    spec = output.spec
    axes = tuple(range(1, 1 + len(spec.output_shape)))
    operands: list[str] = []
    letters: list[str] = []
    pool = iter(string.ascii_uppercase)
    for axis, size in enumerate(spec.output_shape):
        if axis in spec.full_axes:
            letters.append(next(pool) + next(pool))
            operands.append(f"jnp.eye({size})")
        elif axis in spec.diagonal_axes:
            letters.append(next(pool))
            operands.append(f"jnp.ones({size})")
    examples = "n" if spec.matched else "nm"
    result = examples + "".join(letters)
    inputs = ",".join(["nz", f"{examples[-1]}z", *letters])
    value = call(
        "jnp.einsum", *map(atom, [f'"{inputs}->{result}"', "one", "two", *operands])
    )
    return [
        "    theta = 0.0",
        '    texts = [t for t in jax.tree.leaves(PARAMS) if "fixed" not in t]',
        "    for text, one, two in zip(texts, jacobians(x1), jacobians(x2)):",
        f'        if "{output.mark}" in text.split():',
        f"            one = one.sum({axes}) / {output.n_outputs}**0.5",
        f"            two = two.sum({axes}) / {output.n_outputs}**0.5",
        *(f"            {line}" for line in statement("theta += ", value, 76)),
        "        else:",
        f"            theta += jnp.einsum({equation}, one, two){divided}",
        "    return theta",
    ]


def einsum_equation(spec: KernelSpec) -> str:
    """Returns how two Jacobians make a kernel, their last axes the parameters.

    Example:
        >>> einsum_equation(
        ...     KernelSpec(
        ...         name="full",
        ...         output_shape=(5, 3),
        ...         full_axes=(1,),
        ...         trace_axes=(0,),
        ...         diagonal_axes=(),
        ...     )
        ... )
        'naoz,mapz->nmop'
    """
    if spec.sums_logits:
        return "nz,nz->n" if spec.matched else "nz,mz->nm"
    pool = [letter for letter in string.ascii_letters if letter not in "nmz"]
    pairs = iter([("o", "p"), ("q", "r"), ("s", "t"), ("u", "v"), ("w", "x")])
    taken = set("opqrstuvwx")
    alone = iter([letter for letter in pool if letter not in taken])
    first = second = result = ""
    if not spec.whole_batch:
        first, second = "n", "n" if spec.matched else "m"
        result = "n" if spec.matched else "nm"
    for axis in range(len(spec.output_shape)):
        if axis in spec.full_axes:
            one, other = next(pairs)
            result += one + other
        else:
            one = other = next(alone)
            result += one * (axis in spec.diagonal_axes)
        first, second = first + one, second + other
    return f"{first}z,{second}z->{result}"


def _part(output: CheckedOutput, few: int) -> str:
    """Returns the index of the part of a kernel that is checked."""
    lead = ":, " if output.spec.matched else ":, :, "
    return f"[{lead}:{few}, :{few}]"


def _main_lines(
    shapes: Shapes, outputs: Sequence[CheckedOutput], tolerated: float
) -> list[str]:
    dtypes = {text.partition("[")[0] for text in shapes.texts}
    n2 = N1 if shapes.matched else N2
    counts = [f", n={n}" if shapes.batch_axis is not None else "" for n in (N1, n2)]
    switch = '    jax.config.update("jax_enable_x64", True)'
    lines = [
        'if __name__ == "__main__":',
        '    jax.config.update("jax_default_matmul_precision", "highest")',
        *([switch] if dtypes & set(_WIDE) else []),
        "    params = random_like(PARAMS, 0)",
        f"    x1, x2 = random_like(X, 1{counts[0]}), random_like(X, 2{counts[1]})",
        "    errors = []",
        "    for other in (x2, None):",
    ]
    margin, found, dense = " " * 8, outputs[0].kernel, "dense_kernel"
    if len(outputs) > 1:
        listed = [line for item in outputs for line in _pair_lines(item)]
        lines = [*lines[:-1], "    checked = [", *listed, "    ]", lines[-1]]
        lines.append("        for found, dense in checked:")
        margin, found, dense = " " * 12, "found", "dense"
    few = few_outputs(shapes, outputs[0])
    part, why = "", []
    if few is not None:
        part = _part(outputs[0], few)
        why = [f"{margin}# All outputs at once would take too much memory."]
    return [
        *lines,
        *why,
        f"{margin}got = {found}(params, x1, other){part}",
        f"{margin}wanted = {dense}(params, x1, x1 if other is None else other)",
        f"{margin}errors.append(abs(got - wanted).max() / abs(wanted).max())",
        "    worst = numpy.max(errors)",
        '    print(f"largest relative error {worst:.1e}, against dense Jacobians")',
        f"    raise SystemExit(0 if worst < {tolerated:g} else 1)",
    ]


def _pair_lines(output: CheckedOutput) -> list[str]:
    """Prints a kernel and the dense one as an item of a list."""
    pair = sequence([output.kernel, f"dense_kernel{output.suffix}"])
    *lines, last = statement("", pair, _WIDTH - len(","))
    return indented(indented([*lines, f"{last},"]))
