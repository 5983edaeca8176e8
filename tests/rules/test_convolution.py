"""Convolutions crossed over operand, dimension order, size, stride, padding, groups."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from jax import lax

from ntkplan._jax import primitives
from tests.rules.checks import check_labels, labels
from tests.rules.traced import numbers

CONV = primitives.conv_general_dilated_p


@dataclasses.dataclass(frozen=True, kw_only=True)
class Convolution:
    """Sizes and options of a convolution, without an order of its axes."""

    image: tuple[int, ...]
    window: tuple[int, ...]
    strides: tuple[int, ...] = ()
    padding: str | tuple[tuple[int, int], ...] = "VALID"
    image_dilation: tuple[int, ...] = ()
    kernel_dilation: tuple[int, ...] = ()
    feature_groups: int = 1
    batch_groups: int = 1
    batch: int = 1
    n_in: int = 2
    n_out: int = 3

    @property
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Shapes of input `[batch, in, *space]` and kernel `[out, in, *space]`."""
        groups = self.feature_groups * self.batch_groups
        return (
            (
                self.batch_groups * self.batch,
                self.feature_groups * self.n_in,
                *self.image,
            ),
            (groups * self.n_out, self.n_in, *self.window),
        )

    def operands(self, layout):
        """Returns input and kernel in an order of the axes, `("NHWC", "HWIO", ..)`."""
        spaces = [letter for letter in layout[0] if letter not in "NC"]
        orders = ("NC", "OI")
        return tuple(
            numbers(*shape).transpose(
                [[*first, *spaces].index(letter) for letter in text]
            )
            for shape, first, text in zip(self.shapes, orders, layout, strict=False)
        )

    def __call__(self, layout):
        ones = (1,) * len(self.image)
        return lambda image, kernel: lax.conv_general_dilated(
            image,
            kernel,
            self.strides or ones,
            self.padding,
            lhs_dilation=self.image_dilation or ones,
            rhs_dilation=self.kernel_dilation or ones,
            dimension_numbers=layout,
            feature_group_count=self.feature_groups,
            batch_group_count=self.batch_groups,
        )


LAYOUTS = {
    1: (("NWC", "WIO", "NWC"), ("NCW", "OIW", "NCW"), ("WNC", "IOW", "CWN")),
    2: (
        ("NHWC", "HWIO", "NHWC"),
        ("NCHW", "OIHW", "NCHW"),
        ("HWNC", "IHOW", "WCHN"),
        ("CWHN", "OWIH", "NHWC"),
    ),
    3: (("NHWDC", "HWDIO", "NHWDC"), ("DNCWH", "WOHID", "CDHNW")),
}

LINES = {
    "plain": Convolution(image=(5,), window=(3,)),
    "same": Convolution(image=(5,), window=(4,), padding="SAME", batch=3),
    "same_lower": Convolution(image=(5,), window=(2,), padding="SAME_LOWER"),
    "strided": Convolution(image=(7,), window=(3,), strides=(2,)),
    "stride_skips_entries": Convolution(image=(7,), window=(2,), strides=(3,)),
    "same_strided": Convolution(image=(7,), window=(2,), strides=(3,), padding="SAME"),
    "padded": Convolution(image=(5,), window=(3,), padding=((2, 0),)),
    "padded_beyond": Convolution(image=(3,), window=(2,), padding=((4, 3),)),
    "cropped": Convolution(image=(7,), window=(2,), padding=((-1, -2),)),
    "cropped_padded": Convolution(image=(5,), window=(3,), padding=((-2, 3),)),
    "transposed": Convolution(
        image=(3,), window=(3,), image_dilation=(2,), padding=((2, 1),)
    ),
    "transposed_strided": Convolution(
        image=(3,), window=(4,), image_dilation=(3,), strides=(2,), padding=((3, 3),)
    ),
    "transposed_cropped": Convolution(
        image=(5,), window=(2,), image_dilation=(2,), padding=((-1, -1),)
    ),
    "dilated": Convolution(image=(7,), window=(3,), kernel_dilation=(2,)),
    "dilated_both": Convolution(
        image=(4,),
        window=(3,),
        image_dilation=(3,),
        kernel_dilation=(2,),
        strides=(2,),
        padding=((1, -1),),
    ),
    "grouped": Convolution(image=(5,), window=(2,), feature_groups=3),
    "depthwise": Convolution(image=(5,), window=(2,), feature_groups=5, n_in=1),
    "depthwise_one_each": Convolution(
        image=(5,), window=(3,), feature_groups=5, n_in=1, n_out=1, padding="SAME"
    ),
    "batch_groups": Convolution(image=(5,), window=(2,), batch_groups=3, batch=2),
    "batch_groups_dilated": Convolution(
        image=(5,),
        window=(2,),
        batch_groups=2,
        kernel_dilation=(2,),
        image_dilation=(2,),
        padding=((1, 0),),
    ),
    "one_entry": Convolution(image=(1,), window=(1,)),
    "one_window": Convolution(image=(5,), window=(5,), batch=2),
    "pointwise": Convolution(image=(5,), window=(1,), feature_groups=2, batch=2),
    "one_channel": Convolution(image=(5,), window=(2,), n_in=1, n_out=1),
    "nothing_of_the_input": Convolution(image=(2,), window=(2,), padding=((4, -3),)),
}
PLANES = {
    "plain": Convolution(image=(5, 4), window=(3, 2)),
    "same_strided": Convolution(
        image=(5, 4), window=(3, 2), strides=(2, 3), padding="SAME", batch=2
    ),
    "each_axis_its_own": Convolution(
        image=(5, 3),
        window=(2, 3),
        strides=(1, 2),
        padding=((-1, 2), (3, 0)),
        image_dilation=(2, 1),
        kernel_dilation=(1, 2),
        feature_groups=2,
    ),
    "transposed": Convolution(
        image=(3, 2), window=(3, 2), image_dilation=(2, 2), padding=((1, 2), (1, 0))
    ),
    "depthwise": Convolution(
        image=(4, 3), window=(3, 3), feature_groups=3, n_in=1, n_out=2, padding="SAME"
    ),
    "batch_groups": Convolution(image=(4, 3), window=(2, 2), batch_groups=2, batch=3),
    "window_of_the_first_axis": Convolution(image=(4, 3), window=(4, 1)),
}
SPACES = {
    "plain": Convolution(image=(3, 4, 2), window=(2, 1, 2)),
    "each_axis_its_own": Convolution(
        image=(3, 2, 3),
        window=(2, 2, 1),
        strides=(1, 2, 1),
        padding=((0, 1), (1, 1), (-1, 0)),
        image_dilation=(1, 2, 1),
        kernel_dilation=(2, 1, 1),
        feature_groups=2,
        n_in=1,
        n_out=1,
    ),
}
CROSSED = {
    f"{name}-{rank}d-{'-'.join(layout)}": (convolution, layout)
    for rank, table in ((1, LINES), (2, PLANES), (3, SPACES))
    for (name, convolution), layout in itertools.product(table.items(), LAYOUTS[rank])
}
SOME = {
    name
    for number, name in enumerate(CROSSED)
    # Lines stand first, in three orders each: every one meets one of them.
    if name.endswith("NHWC-HWIO-NHWC") or (number + number // 3) % 3 == 0
}


@pytest.mark.parametrize(
    "name",
    [
        name if name in SOME else pytest.param(name, marks=pytest.mark.slow)
        for name in CROSSED
    ],
)
def test_kernel(name):
    convolution, layout = CROSSED[name]
    found = check_labels(CONV, 1, convolution(layout), *convolution.operands(layout))
    assert found.rule == "conv_general_dilated"


IN_PLACE = ("one_entry", "one_window", "pointwise", "window_of_the_first_axis")


@pytest.mark.parametrize(
    "name", [name for name in sorted(SOME) if name.split("-")[0] in IN_PLACE]
)
def test_input_of_windows_that_do_not_overlap(name):
    convolution, layout = CROSSED[name]
    check_labels(CONV, 0, convolution(layout), *convolution.operands(layout))


@pytest.mark.parametrize(
    "convolution",
    [
        Convolution(image=(3,), window=(1,), batch_groups=2, batch=2),
        Convolution(image=(3, 1), window=(1, 1), kernel_dilation=(2, 3)),
        Convolution(image=(3, 2), window=(3, 2), strides=(2, 5), feature_groups=2),
    ],
)
def test_input_in_groups(convolution):
    layout = LAYOUTS[len(convolution.image)][-1]
    check_labels(CONV, 0, convolution(layout), *convolution.operands(layout))


@pytest.mark.parametrize(
    "convolution",
    [
        Convolution(image=(5,), window=(2,)),
        Convolution(image=(5,), window=(5,), padding="SAME"),
        Convolution(image=(5,), window=(1,), strides=(2,)),
        Convolution(image=(5,), window=(1,), padding=((1, 0),)),
        Convolution(image=(5,), window=(1,), padding=((1, -1),)),
        Convolution(image=(3,), window=(5,), image_dilation=(2,), padding=((0, 0),)),
        Convolution(image=(3,), window=(3,), padding=((1, -1),)),
    ],
)
def test_other_inputs_are_opaque(convolution):
    layout = LAYOUTS[1][0]
    operands = convolution.operands(layout)
    assert labels(CONV, 0, convolution(layout), *operands) is None
