"""A convolution after a pixel shuffle, computed before it."""

import torch

from srquant.deploy.export.graph_tools import IntegerConv2d
from srquant.models.blocks.conv_geometry import ConvGeometry


def keeps_size(conv: IntegerConv2d) -> bool:
    """Whether the result has the height and width of the input, and no groups."""
    geometry = conv.geometry
    same = all(2 * p + 1 == k for p, k in zip(geometry.padding, conv.weight.shape[2:], strict=True))
    return same and geometry.stride == (1, 1) and geometry.dilation == (1, 1) and geometry.groups == 1


def before_shuffle(conv: IntegerConv2d, factor: int) -> IntegerConv2d:
    """The convolution before a pixel shuffle that equals ``conv`` after it.

    Output pixel ``factor*y + i`` reads rows ``factor*y + i + u - padding``: row ``y + (i+u-padding) // factor`` of the
    input, phase ``(i+u-padding) % factor``. All other weights are zero.
    """
    out_channels, in_channels, height, width = conv.weight.shape
    area = factor**2
    pad_y, pad_x = (-(-p // factor) for p in conv.geometry.padding)
    weight = conv.weight.new_zeros(out_channels * area, in_channels * area, 2 * pad_y + 1, 2 * pad_x + 1)
    for i, j, u, v in torch.cartesian_prod(*map(torch.arange, (factor, factor, height, width))).tolist():
        row, row_phase = divmod(i + u - conv.geometry.padding[0], factor)
        column, column_phase = divmod(j + v - conv.geometry.padding[1], factor)
        outputs = slice(i * factor + j, None, area)
        inputs = slice(row_phase * factor + column_phase, None, area)
        weight[outputs, inputs, row + pad_y, column + pad_x] = conv.weight[:, :, u, v]
    scale, bias = (values.repeat_interleave(area) for values in (conv.scale, conv.bias))
    return IntegerConv2d(weight, scale, bias, ConvGeometry((1, 1), (pad_y, pad_x), (1, 1), 1), conv.name)
