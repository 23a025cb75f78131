"""What a frozen layer becomes inside an export graph: quantize, integer convolution, dequantize, each its own node.

As separate nodes they can be shared, moved and merged; ``FrozenConv2d`` is ``Quantize``, then ``IntegerConv2d``.
Everything runs in PyTorch too, so that a rewritten graph can be compared with the network it came from.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srquant.deploy.frozen.grid import FrozenGrid
from srquant.deploy.frozen.layers import FrozenConv2d, FrozenLinear
from srquant.deploy.frozen.matmul import OperandGrid
from srquant.models.blocks.conv_geometry import ConvGeometry, layer_of


class Quantize(nn.Module):
    """Values to integers ``k - z`` (as floats).

    Args:
        grid: of the integers.
        before: applied first, see ``FrozenConv2d``.
    """

    def __init__(self, grid: FrozenGrid, before: nn.Module | None = None) -> None:
        super().__init__()
        self.grid = grid
        self.before = before

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same, or to the padded one where a ``ChannelScaling`` pads."""
        result: Tensor = self.grid(x if self.before is None else self.before(x))
        return result

    def same(self, grid: FrozenGrid) -> bool:
        """Whether this is plain quantization to ``grid``."""
        equal = torch.equal(self.grid.lower, grid.lower) and torch.equal(self.grid.upper, grid.upper)
        return self.before is None and self.grid.levels == grid.levels and equal


class Dequantize(nn.Module):
    """Integers ``k - z`` to values ``step * integer + offset``."""

    def __init__(self, grid: FrozenGrid, offset: float) -> None:
        super().__init__()
        self.grid = grid
        self.offset = offset

    def forward(self, integers: Tensor) -> Tensor:
        """Any shape to the same."""
        return integers * self.grid.step + self.offset


class DequantizeAddend(Dequantize):
    """``Dequantize`` for an addend of a sum, whose quantization an engine may not merge with the layer before it."""


class DequantizeOperand(nn.Module):
    """Integers of a matrix product's operand to values."""

    def __init__(self, operand: OperandGrid) -> None:
        super().__init__()
        self.operand = operand

    def forward(self, integers: Tensor) -> Tensor:
        """Any shape to the same."""
        return integers * self.operand.grid.step + self.operand.offset


class IntegerConv2d(nn.Module):
    """Convolution of integers: ``scale * conv(weight, integers) + bias``.

    Args:
        weight: int8 ``C_out x C_in/groups x kH x kW``.
        scale: float32 ``C_out``.
        bias: float32 ``C_out``.
        geometry: stride, padding, dilation, groups.
        accumulator: a float type that holds every integer sum exactly.
    """

    def __init__(
        self,
        weight: Tensor,
        scale: Tensor,
        bias: Tensor,
        geometry: ConvGeometry,
        accumulator: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        self.weight, self.scale, self.bias = weight, scale, bias
        self.geometry = geometry
        self.accumulator = accumulator

    def forward(self, integers: Tensor) -> Tensor:
        """``N x C_in x H x W`` integers to ``N x C_out x H' x W'`` values."""
        w = self.geometry
        weight = self.weight.to(self.accumulator)
        sums = F.conv2d(integers.to(self.accumulator), weight, None, w.stride, w.padding, w.dilation, w.groups).float()
        return sums * self.scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)

    def rescaled(self, factor: float, shift: Tensor) -> "IntegerConv2d":
        """The convolution whose result is ``factor`` times this one's plus ``shift`` (``C_out`` or 0-d)."""
        bias = self.bias * factor + shift
        return IntegerConv2d(self.weight, self.scale * factor, bias, self.geometry, self.accumulator)

    def with_channels(self, order: Tensor) -> "IntegerConv2d":
        """The convolution whose output channel ``i`` is this one's ``order[i]``; no groups."""
        weight, scale, bias = self.weight[order], self.scale[order], self.bias[order]
        return IntegerConv2d(weight, scale, bias, self.geometry, self.accumulator)


class IntegerLinear(nn.Module):
    """``scale * integers @ weight.T + bias`` over the last dimension; arguments as ``IntegerConv2d``."""

    def __init__(self, weight: Tensor, scale: Tensor, bias: Tensor, accumulator: torch.dtype) -> None:
        super().__init__()
        self.weight, self.scale, self.bias = weight, scale, bias
        self.accumulator = accumulator

    def forward(self, integers: Tensor) -> Tensor:
        """``... x in`` integers to ``... x out`` values."""
        sums = F.linear(integers.to(self.accumulator), self.weight.to(self.accumulator)).float()
        return sums * self.scale + self.bias


class BlockShuffle(nn.Module):
    """Pixel shuffle of channels ordered ``(i*f + j)*C + c``, so that a pixel's channels move as one block."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """``N x f*f*C x H x W`` to ``N x C x f*H x f*W``."""
        f, (n, channels, height, width) = self.factor, x.shape
        blocks = x.view(n, f, f, channels // f**2, height, width).permute(0, 3, 4, 1, 5, 2)
        return blocks.reshape(n, channels // f**2, height * f, width * f)


def integer_layer(layer: FrozenConv2d | FrozenLinear) -> IntegerConv2d | IntegerLinear:
    """A frozen layer without its quantizer."""
    scale, bias = layer.output_scale(), layer.corrected_bias()
    if isinstance(layer, FrozenLinear):
        return IntegerLinear(layer.weight, scale, bias, layer.accumulator)
    geometry = ConvGeometry(layer.stride, layer.padding, layer.dilation, layer.groups)
    return IntegerConv2d(layer.weight, scale, bias, geometry, layer.accumulator)


def float_layer(layer: IntegerConv2d | IntegerLinear, step: float) -> nn.Conv2d | nn.Linear:
    """The same layer with float weights, for inputs ``step * integers``; for processors whose sums would saturate."""
    scale = (layer.scale / step).view(-1, *[1] * (layer.weight.dim() - 1))
    geometry = None if isinstance(layer, IntegerLinear) else layer.geometry
    return layer_of(layer.weight.float() * scale, layer.bias, geometry)
