"""Convolutions: strides, paddings, dilations, groups, layouts, one to three axes."""

from __future__ import annotations

from tests.generated.program import Shape
from tests.generated.scope import Scope, Value
from tests.generated.shapes import contain
from tests.generated.weights import weight

SPATIAL = "HWD"


def convolution(scope: Scope, value: Value) -> Value:
    """Any axis is the channel; what is left are positions."""
    channel = scope.integer(0, value.rank - 1)
    channel = value.rank - 1 - channel
    channels = value.shape[channel]
    sizes = value.shape[:channel] + value.shape[channel + 1 :]
    groups = scope.choose([1, channels])
    features = (
        groups * scope.choose((1, 2)) if groups > 1 else scope.size(value.shape, most=5)
    )
    window, lhs_spec = Window(scope, sizes), _spec(channel, len(sizes))
    kernel_sizes = {"I": channels // groups, "O": features, **window.kernel}
    rhs_spec = "".join(scope.permutation("OI" + SPATIAL[: len(sizes)]))
    kernel = weight(scope, tuple(kernel_sizes[axis] for axis in rhs_spec))
    data = f"{value}" if scope.lead else f"{value}[None]"
    lhs_spec = "N" + lhs_spec
    if scope.rarely(3):
        place = scope.integer(1, value.rank)
        data = f"jnp.moveaxis({data}, 0, {place})"
        lhs_spec = lhs_spec[1 : place + 1] + "N" + lhs_spec[place + 1 :]
    out_spec = "NC" + SPATIAL[: len(sizes)]
    if scope.flag():
        out_spec = "".join(scope.permutation(out_spec))
    text = _call(data, str(kernel), window, (lhs_spec, rhs_spec, out_spec), groups)
    examples = out_spec.index("N")
    if examples:
        text = f"jnp.moveaxis({text}, {examples}, 0)"
    if not scope.lead:
        text = f"{text}[0]"
    out_sizes = {"C": features, **window.out}
    shape = tuple(out_sizes[axis] for axis in out_spec if axis != "N")
    return contain(scope, scope.let(text, shape))


def batch_groups(scope: Scope, value: Value) -> Value:
    """Splits the first axis of one example into groups of the batch."""
    groups, channels = value.shape[0], value.shape[-1]
    sizes = value.shape[1:-1]
    features = groups * scope.choose((1, 2))
    window = Window(scope, sizes)
    axes = SPATIAL[: len(sizes)]
    kernel_sizes = {"I": channels, "O": features, **window.kernel}
    rhs_spec = "".join(scope.permutation("OI" + axes))
    kernel = weight(scope, tuple(kernel_sizes[axis] for axis in rhs_spec))
    specs = (f"N{axes}C", rhs_spec, f"N{axes}C")
    text = _call("one", str(kernel), window, specs, 1, batch_groups=groups)
    apply = f"(lambda one: {text}[0])"
    text = f"jax.vmap{apply}({value})" if scope.lead else f"{apply}({value})"
    shape = (*(window.out[axis] for axis in axes), features)
    return contain(scope, scope.let(text, shape))


class Window:
    """How a kernel moves over positions, drawn so that something comes out."""

    def __init__(self, scope: Scope, sizes: Shape) -> None:
        axes = SPATIAL[: len(sizes)]
        self.strides = [scope.choose((1, 2, 3)) for _ in axes]
        self.lhs_dilation = [1 + scope.rarely(4) for _ in axes]
        self.rhs_dilation = [1 + scope.rarely(4) for _ in axes]
        most = 3 if len(sizes) < 3 else 2
        counts = [scope.integer(1, min(most, size + 1)) for size in sizes]
        self.kernel = dict(zip(axes, counts, strict=True))
        self.padding = self._padding(scope, sizes, counts)
        self.out = {}
        for place, axis in enumerate(axes):
            self.out[axis] = self._out(place, sizes[place], counts[place])

    def _reach(self, place: int, size: int, count: int) -> int:
        """Returns how many places the kernel has if nothing is padded, less one."""
        dilated = (size - 1) * self.lhs_dilation[place] + 1
        return dilated - ((count - 1) * self.rhs_dilation[place] + 1)

    def _padding(self, scope: Scope, sizes: Shape, counts: list[int]) -> str | list:
        kinds = ["VALID", "SAME", "explicit", "explicit"]
        if max(self.lhs_dilation) > 1:
            kinds = ["explicit"]
        kind = scope.choose(kinds)
        reaches = [
            self._reach(place, size, count)
            for place, (size, count) in enumerate(zip(sizes, counts, strict=True))
        ]
        if kind == "SAME" or (kind == "VALID" and min(reaches) >= 0):
            return kind
        pads = []
        for reach in reaches:
            low, high = scope.integer(-1, 2), scope.integer(-1, 2)
            pads.append((low, high + max(0, -(reach + low + high))))
        return pads

    def _out(self, place: int, size: int, count: int) -> int:
        stride = self.strides[place]
        if self.padding == "SAME":
            return -(-size // stride)
        low, high = (0, 0) if self.padding == "VALID" else self.padding[place]
        return (self._reach(place, size, count) + low + high) // stride + 1


def _spec(channel: int, n_spatial: int) -> str:
    axes = list(SPATIAL[:n_spatial])
    axes.insert(channel, "C")
    return "".join(axes)


def _call(
    data: str,
    kernel: str,
    window: Window,
    specs: tuple[str, str, str],
    groups: int,
    batch_groups: int = 1,
) -> str:
    # JAX counts positions in the order in which the kernel has them.
    order = [SPATIAL.index(axis) for axis in specs[1] if axis in SPATIAL]

    def ordered(items: list) -> tuple:
        return tuple(items[place] for place in order)

    padding = window.padding
    if not isinstance(padding, str):
        padding = list(ordered(padding))
    options = [f"window_strides={ordered(window.strides)}", f"padding={padding!r}"]
    if max(window.lhs_dilation) > 1:
        options.append(f"lhs_dilation={ordered(window.lhs_dilation)}")
    if max(window.rhs_dilation) > 1:
        options.append(f"rhs_dilation={ordered(window.rhs_dilation)}")
    options.append(f"dimension_numbers={specs}")
    if groups > 1:
        options.append(f"feature_group_count={groups}")
    if batch_groups > 1:
        options.append(f"batch_group_count={batch_groups}")
    return f"lax.conv_general_dilated({data}, {kernel}, {', '.join(options)})"
