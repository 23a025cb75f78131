"""Deployable layers whose input grid depends on the input: integer weights, computed in float.

The step of an input channel is another one for every picture, so no integer convolution has one scale per output.
``DynamicPoints`` are those of DAN, which engines compute too; PyTorch runs any ``ConditionalQuantizer``.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srquant.deploy.export.nodes import Window, plain_layer
from srquant.deploy.frozen.grid import FrozenGrid
from srquant.quantizers.by_picture import ConditionalQuantizer
from srquant.quantizers.dan import SMALLEST_WIDTH, channel_range, normalise, restore


class DynamicPoints(nn.Module):
    """Values to grid points of their channel, as ``quantizers.dan.DynamicQuantizer``.

    Args:
        grid: of the values normalised to [-1, 1].
        channel_axis: 1 before a convolution, -1 before a linear layer.
        rank: number of the input's axes, which only exports must know.
    """

    def __init__(self, grid: FrozenGrid, channel_axis: int, rank: int = 4) -> None:
        super().__init__()
        self.grid = grid
        self.channel_axis = channel_axis
        self.rank = rank

    @property
    def bits(self) -> int:
        """Of the grid."""
        return (self.grid.levels - 1).bit_length()

    @property
    def axes(self) -> tuple[int, ...]:
        """Those over which a channel's range is taken."""
        return tuple(axis for axis in range(1, self.rank) if axis != self.channel_axis % self.rank)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same."""
        smallest, width = channel_range(x, self.channel_axis)
        varies = width > SMALLEST_WIDTH
        width = torch.where(varies, width, 1.0)
        codes = self.grid(normalise(x, smallest, width)) + self.grid.zero_point
        return torch.where(varies, restore(codes * self.grid.step + self.grid.lower, smallest, width), x)


class DynamicLayer(nn.Module):
    """A convolution (with a window) or linear layer (without) of integer weights on dynamic grids.

    Args:
        points: values to grid points.
        weight: int8 ``C_out x C_in/groups x kH x kW`` or ``out x in``, in -127..127.
        weight_scale: float32 ``C_out``; the float weight is ``weight * weight_scale``.
        bias: float32 ``C_out``, or None.
        weight_bits: bits that a weight takes in the file.
        window: of a convolution; it pads zeros behind the quantizer.
    """

    def __init__(
        self,
        points: DynamicPoints | ConditionalQuantizer,
        weight: Tensor,
        weight_scale: Tensor,
        bias: Tensor | None,
        weight_bits: int,
        window: Window | None,
    ) -> None:
        super().__init__()
        self.points = points
        self.weight: Tensor
        self.weight_scale: Tensor
        self.bias: Tensor | None
        self.register_buffer("weight", weight)
        self.register_buffer("weight_scale", weight_scale)
        self.register_buffer("bias", bias)
        self.weight_bits = weight_bits
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        """As the float layer; padded apart like the quantized one, so that sums have one order."""
        points, weight, w = self.points(x), self.float_weight(), self.window
        if w is None:
            return F.linear(points, weight, self.bias)
        vertical, horizontal = w.padding
        padded = F.pad(points, (horizontal, horizontal, vertical, vertical))
        return F.conv2d(padded, weight, self.bias, w.stride, 0, w.dilation, w.groups)

    def float_weight(self) -> Tensor:
        """The weights that the integers stand for, float32."""
        return (self.weight * self.weight_scale.double().view(-1, *[1] * (self.weight.dim() - 1))).float()

    def float_layer(self) -> nn.Conv2d | nn.Linear:
        """The layer behind its quantizer."""
        weight = self.float_weight()
        return plain_layer(weight, torch.zeros(len(weight)) if self.bias is None else self.bias, self.window)
