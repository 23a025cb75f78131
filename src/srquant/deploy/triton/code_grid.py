"""The grid of a convolution's input, as bytes with the channels of a pixel side by side."""

import torch
from torch import Tensor, nn

from srquant.deploy.frozen.channels import ChannelScaling
from srquant.deploy.frozen.layers import FrozenConv2d
from srquant.grids.uniform import step_size

LARGEST_CODE, SMALLEST_CODE = 127, -128
"""Of a signed byte."""


def padded_channels(channels: int) -> int:
    """Channels of a pixel in memory: 32, or a multiple of 64."""
    return 32 if channels <= 32 else -(-channels // 64) * 64


class CodeGrid(nn.Module):
    """Uniform grids, one per channel, equal ones where the layer has one grid.

    Args:
        lower: first grid point, float32 ``C``.
        step: float32 ``C``.
        levels: 3..256.
        padded_zero: code of a padded zero per channel, float32 ``C``.
        shift: subtracted from codes, so that they fit into int8.
        lattice: of the layer; None if it isn't settled.

    Attributes:
        zero_padded: whether padded zeros have the code 0 after the shift.
    """

    def __init__(
        self, lower: Tensor, step: Tensor, levels: int, padded_zero: Tensor, shift: int, lattice: float | None
    ) -> None:
        super().__init__()
        self.lower: Tensor
        self.step: Tensor
        self.padded: Tensor
        self.levels, self.shift, self.lattice = levels, shift, lattice
        self.zero_padded = bool((padded_zero == shift).all())
        self.register_buffer("lower", pad_channels(lower, 0.0))
        self.register_buffer("step", pad_channels(step, 1.0))
        self.register_buffer("padded", pad_channels((padded_zero - self.shift).to(torch.int8), 0))

    def forward(self, x: Tensor) -> Tensor:
        """``N x C x H x W`` values to int8 ``N x H x W x padded_channels(C)``, codes minus ``shift``."""
        from srquant.deploy.triton.kernels.encode import encode

        return encode(x, self.lower, self.step, self.levels, self.shift)

    def same(self, other: "CodeGrid") -> bool:
        """Whether both give the same codes."""
        pairs = (self.lower, other.lower), (self.step, other.step)
        return (self.levels, self.shift) == (other.levels, other.shift) and all(torch.equal(a, b) for a, b in pairs)


def pad_channels(values: Tensor, filling: float) -> Tensor:
    """One value per channel, and ``filling`` for channels that only exist in memory."""
    padded = values.new_full((padded_channels(len(values)),), filling)
    padded[: len(values)] = values
    return padded


def code_grid(layer: FrozenConv2d) -> CodeGrid:
    """The grid of a convolution that ``is_supported``."""
    grid, channels = layer.grid, layer.weight.shape[1]
    if isinstance(layer.before, ChannelScaling):
        lower, step = layer.before.lower.flatten(), layer.before.step.flatten()
        zero = (-lower / step).round().clamp(0, grid.levels - 1)
        padded = zero if any(layer.before.padding) else torch.full_like(zero, grid.zero_point)
    else:
        lower, step = grid.lower.expand(channels), step_size(grid.lower, grid.upper, grid.levels).expand(channels)
        padded = torch.full_like(lower, grid.zero_point)
    return CodeGrid(lower, step, grid.levels, padded, shift_of(padded, grid.levels), layer.lattice)


def shift_of(padded_zero: Tensor, levels: int) -> int:
    """The code of a padded zero, if all codes minus it fit into int8 and it is the same for all channels."""
    zero = int(padded_zero[0])
    if bool((padded_zero == zero).all()) and zero <= -SMALLEST_CODE and levels - 1 - zero <= LARGEST_CODE:
        return zero
    return 0 if levels - 1 <= LARGEST_CODE else -SMALLEST_CODE


def is_supported(layer: FrozenConv2d) -> bool:
    """Whether the kernels compute this convolution: 3x3, stride 1, padding 1, no groups, a uniform grid as input."""
    rows, columns = layer.padding
    if isinstance(layer.before, ChannelScaling):
        rows, columns = max(rows, layer.before.padding[0]), max(columns, layer.before.padding[1])
        if float(layer.grid.lower) != 0.0 or layer.grid.step != 1.0:
            return False
    elif layer.before is not None:
        return False
    window = tuple(layer.weight.shape[2:]), layer.stride, (rows, columns), layer.dilation, layer.groups
    return window == ((3, 3), (1, 1), (1, 1), (1, 1), 1)
