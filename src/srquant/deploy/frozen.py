"""The deployable layers: integer weights, fixed grids, nothing left to learn.

A grid ``lower + step * k`` with zero point ``z`` is ``step * (k - z) + offset``, ``offset = lower + step * z``.
Padding zero is a grid point too, so a convolution is
``step * weight_scale * conv(W, k - z) + offset * weight_scale * sum(W) + bias``: any pair of bounds runs on
standard integer convolutions, and the offset is a bias per output channel.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srquant.quant.conditional import ConditionalQuantizer
from srquant.quant.grid import codes, on_lattice, step_size, zero_point

EXACT_IN_FLOAT32 = 2.0**24


class FrozenGrid(nn.Module):
    """A fixed uniform activation grid.

    Args:
        lower: first grid point, 0-d float32.
        upper: last grid point, 0-d float32.
        levels: number of grid points, 3..256.
        zero_point: code of a padded zero; None takes that of the grid point nearest to zero.
    """

    def __init__(self, lower: Tensor, upper: Tensor, levels: int, zero_point: int | None = None) -> None:
        super().__init__()
        self.lower: Tensor
        self.upper: Tensor
        self.register_buffer("lower", lower.detach().clone())
        self.register_buffer("upper", upper.detach().clone())
        self.levels = levels
        self.padded_zero = zero_point

    @property
    def step(self) -> float:
        """Distance between grid points."""
        return float(step_size(self.lower, self.upper, self.levels))

    @property
    def zero_point(self) -> int:
        """Code of a padded zero."""
        if self.padded_zero is not None:
            return self.padded_zero
        return int(zero_point(self.lower, self.upper, self.levels))

    @property
    def offset(self) -> float:
        """Value of a padded zero."""
        return float(self.lower) + self.step * self.zero_point

    def forward(self, x: Tensor) -> Tensor:
        """Integers ``k - z`` as floats, shape of ``x``."""
        return codes(x, self.lower, self.upper, self.levels) - self.zero_point

    def dequantize(self, integers: Tensor) -> Tensor:
        """The grid points of ``k - z``."""
        return integers * self.step + self.offset


class ChannelScaling(nn.Module):
    """Brings channels with grids of their own to one grid: ``(pad(x) - lower) / step``.

    Args:
        lower: first grid point of each channel, ``C x 1 x 1`` or ``C``.
        step: of each channel, same shape.
        padding: zeros put around first, (rows, columns), where the channels' codes of zero differ; the convolution
            then pads nothing.
    """

    def __init__(self, lower: Tensor, step: Tensor, padding: tuple[int, int]) -> None:
        super().__init__()
        self.lower: Tensor
        self.step: Tensor
        self.register_buffer("lower", lower)
        self.register_buffer("step", step)
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        """``N x C x H x W`` (or ``... x C``) values to positions on the channels' grids."""
        vertical, horizontal = self.padding
        padded = F.pad(x, (horizontal, horizontal, vertical, vertical)) if any(self.padding) else x
        return (padded - self.lower) / self.step


class FrozenLayer(nn.Module):
    """What integer convolutions and linear layers share.

    Args:
        grid: the input's grid.
        weight: int8 ``C_out x ...`` in -127..127.
        weight_scale: float32 ``C_out``; the float weight is ``weight * weight_scale``.
        bias: float32 ``C_out``, or None.
        weight_bits: bits that a weight takes in the file.
        before: applied to the input first: brings channels with grids of their own to one, or values to their points.
        lattice: spacing of output scale and bias, a power of two; None leaves them as they are.
    """

    def __init__(
        self,
        grid: FrozenGrid,
        weight: Tensor,
        weight_scale: Tensor,
        bias: Tensor | None,
        weight_bits: int,
        before: nn.Module | None = None,
        lattice: float | None = None,
    ) -> None:
        super().__init__()
        self.grid = grid
        self.before = before
        self.lattice = lattice
        self.weight: Tensor
        self.weight_scale: Tensor
        self.bias: Tensor | None
        self.register_buffer("weight", weight)
        self.register_buffer("weight_scale", weight_scale)
        self.register_buffer("bias", bias)
        self.weight_bits = weight_bits
        self.accumulator = exact_accumulator(weight, grid)

    def output_scale(self) -> Tensor:
        """Factor from integer sums to values, ``C_out``."""
        return on_lattice(self.weight_scale.double() * self.grid.step, self.lattice).float()

    def corrected_bias(self) -> Tensor:
        """Bias plus what the grid's offset adds, ``C_out``."""
        scale = settled_scale(self.weight_scale, self.grid.step, self.lattice)
        return on_lattice(offset_bias(self.grid, self.weight, scale, self.bias), self.lattice).float()

    def integers(self, x: Tensor) -> Tensor:
        """Values to integers ``k - z`` in the type that holds their sums."""
        integers: Tensor = self.grid(x if self.before is None else self.before(x))
        return integers.to(self.accumulator)


class FrozenConv2d(FrozenLayer):
    """``Conv2d`` with integer weights on integer activations.

    Args:
        grid: the input's grid.
        weight: int8 ``C_out x C_in/groups x kH x kW`` in -127..127.
        weight_scale: as ``FrozenLayer``, like the arguments not named here.
        bias: the same.
        stride: per axis.
        padding: per axis, zeros added before quantization.
        dilation: per axis.
        groups: number of groups.
        weight_bits: as ``FrozenLayer``.
        before: the same.
        lattice: the same.
    """

    def __init__(
        self,
        grid: FrozenGrid,
        weight: Tensor,
        weight_scale: Tensor,
        bias: Tensor | None,
        stride: tuple[int, int],
        padding: tuple[int, int],
        dilation: tuple[int, int],
        groups: int,
        weight_bits: int,
        before: nn.Module | None = None,
        lattice: float | None = None,
    ) -> None:
        super().__init__(grid, weight, weight_scale, bias, weight_bits, before, lattice)
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups

    def forward(self, x: Tensor) -> Tensor:
        """``N x C_in x H x W`` values to ``N x C_out x H' x W'`` values."""
        integers, weight = self.integers(x), self.weight.to(self.accumulator)
        sums = F.conv2d(integers, weight, None, self.stride, self.padding, self.dilation, self.groups).float()
        shape = (1, -1, 1, 1)
        return sums * self.output_scale().view(shape) + self.corrected_bias().view(shape)


class FrozenLinear(FrozenLayer):
    """``Linear`` with integer weights on integer activations; arguments as ``FrozenLayer``, weight ``out x in``."""

    def forward(self, x: Tensor) -> Tensor:
        """``... x in`` values to ``... x out`` values."""
        sums = F.linear(self.integers(x), self.weight.to(self.accumulator)).float()
        return sums * self.output_scale() + self.corrected_bias()


class FrozenAdd(nn.Module):
    """``a + scale * b`` put on a grid: the 8-bit skip stream."""

    def __init__(self, grid: FrozenGrid, scale: float) -> None:
        super().__init__()
        self.grid = grid
        self.scale = scale

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Two tensors of one shape to their sum on the grid."""
        total = a + b if self.scale == 1.0 else a + self.scale * b
        return self.grid.dequantize(self.grid(total))


Points = FrozenGrid | ConditionalQuantizer


class FrozenAddends(nn.Module):
    """``a + scale * b`` of two addends on a grid each.

    Args:
        left: grid of the first addend, or what puts it on points.
        right: the same of the second.
        scale: of the second.
    """

    def __init__(self, left: Points, right: Points, scale: float) -> None:
        super().__init__()
        self.left = left
        self.right = right
        self.scale = scale

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Two tensors of one shape to the sum of their grid points."""
        left, right = _points(self.left, a), _points(self.right, b)
        return left + right if self.scale == 1.0 else left + self.scale * right


def _points(grid: Points, values: Tensor) -> Tensor:
    result: Tensor = grid(values)
    return grid.dequantize(result) if isinstance(grid, FrozenGrid) else result


class OperandGrid(nn.Module):
    """A grid of a matrix product's operand: integers ``k + first`` that fit into one byte.

    Args:
        grid: the operand's.
        first: integer of the first grid point: 0 for unsigned bytes, ``-levels/2`` for signed ones.
    """

    def __init__(self, grid: FrozenGrid, first: int) -> None:
        super().__init__()
        self.grid = grid
        self.first = first

    @property
    def offset(self) -> float:
        """Value of the integer zero."""
        return float(self.grid.lower) - self.grid.step * self.first

    def forward(self, x: Tensor) -> Tensor:
        """Values to integers as floats, any shape."""
        return codes(x, self.grid.lower, self.grid.upper, self.grid.levels) + self.first


class IntegerMatmul(nn.Module):
    """The product of the values that two integer matrices stand for.

    ``(s_a i + o_a)(s_b j + o_b) = s_b (s_a sum(i j) + o_a sum(j)) + o_b sum(s_a i + o_a)``.

    Args:
        left: grid of the first operand.
        right: of the second.
        lattice: spacing of the results, a power of two; None leaves them as they are.
    """

    def __init__(self, left: OperandGrid, right: OperandGrid, lattice: float | None) -> None:
        super().__init__()
        self.steps = left.grid.step, right.grid.step
        self.offsets = left.offset, right.offset
        self.lattice = lattice

    def forward(self, i: Tensor, j: Tensor) -> Tensor:
        """``... x N x K`` and ``... x K x M`` integers to ``... x N x M`` values."""
        (left_step, right_step), (left_offset, right_offset) = self.steps, self.offsets
        i, j = i.double(), j.double()
        scaled = right_step * (left_step * (i @ j) + left_offset * j.sum(-2, keepdim=True))
        values = scaled + right_offset * (left_step * i + left_offset).sum(-1, keepdim=True)
        return on_lattice(values, self.lattice).float()


class FrozenMatmul(nn.Module):
    """A matrix product of two activations on integers: unsigned bytes times signed bytes.

    Args:
        left: grid of the first operand.
        right: grid of the second.
        lattice: spacing of the results, or None.
    """

    def __init__(self, left: FrozenGrid, right: FrozenGrid, lattice: float | None) -> None:
        super().__init__()
        self.left = OperandGrid(left, 0)
        self.right = OperandGrid(right, -right.levels // 2)
        self.product = IntegerMatmul(self.left, self.right, lattice)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """``... x N x K`` and ``... x K x M`` values to ``... x N x M`` values."""
        values: Tensor = self.product(self.left(a), self.right(b))
        return values


def settled_scale(weight_scale: Tensor, step: float, lattice: float | None) -> Tensor:
    """Weight scales, float64, that make output scales exactly multiples of the lattice, as in the quantized layer."""
    return on_lattice(weight_scale.double() * step, lattice).double() / step


def offset_bias(grid: FrozenGrid, weight: Tensor, weight_scale: Tensor, bias: Tensor | None) -> Tensor:
    """``offset * weight_scale * sum(W) + bias``, one float64 per output channel."""
    correction = weight.flatten(1).sum(1, dtype=torch.float64) * weight_scale * grid.offset
    return correction if bias is None else correction + bias


def exact_accumulator(weight: Tensor, grid: FrozenGrid) -> torch.dtype:
    """The narrowest float type that holds every possible integer sum exactly."""
    largest_code = max(grid.zero_point, grid.levels - 1 - grid.zero_point)
    largest_sum = int(weight.flatten(1).abs().sum(1, dtype=torch.int64).max()) * largest_code
    return torch.float32 if largest_sum < EXACT_IN_FLOAT32 else torch.float64
