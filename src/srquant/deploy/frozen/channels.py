"""Layers with one grid or one shift per input channel: channels are first scaled or shifted to one common grid."""

import torch
from torch import Tensor, nn

from srquant.deploy.frozen.grid import FrozenGrid, frozen_grid
from srquant.deploy.frozen.layers import FrozenLayer, frozen_layer, settled_scale
from srquant.grids.uniform import on_lattice, step_size, zero_point
from srquant.quantizers.base import zero_padded
from srquant.quantizers.grid_spec import UniformSpec
from srquant.quantizers.layers import expand_to_weight
from srquant.quantizers.module_spec import LayerSpec
from srquant.quantizers.shifted import ShiftedSpec


class ChannelScaling(nn.Module):
    """Scales channels with one grid each to a common grid: ``(pad(x) - lower) / step``.

    Args:
        lower: first grid point of each channel, ``C x 1 x 1`` or ``C``.
        step: of each channel, same shape.
        padding: zeros added first, (rows, columns), where the channels' codes of zero differ; the convolution then
            adds no padding.
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
        padded = zero_padded(x, self.padding) if any(self.padding) else x
        return (padded - self.lower) / self.step


def shifted_layer(spec: LayerSpec, grid: ShiftedSpec) -> FrozenLayer:
    """The layer whose channels are shifted to one grid; it pads with the code of zero, which is a grid point."""
    lower = -grid.shift.reshape(_channel_shape(spec))
    scaling = ChannelScaling(lower, torch.ones_like(lower), (0, 0))
    return frozen_layer(spec, frozen_grid(grid.grid), before=scaling)


def channel_grid_layer(spec: LayerSpec, grid: UniformSpec) -> FrozenLayer:
    """The layer whose channels are scaled to codes 0..levels-1: steps go into the weight, offsets into the bias."""
    lower, upper, levels = grid.lower, grid.upper, grid.levels
    steps = step_size(lower, upper, levels)
    integers = spec.weight.integers().double()
    shift = expand_to_weight(lower.double() / steps.double() * steps.mean().double(), integers)
    scale = settled_scale(spec.weight.scale, float(steps.mean()), spec.lattice)
    added = (integers * shift).flatten(1).sum(1) * scale
    bias = on_lattice(added if spec.bias is None else added + spec.bias, spec.lattice).float()
    shape, starts_at_zero = _channel_shape(spec), bool((zero_point(lower, upper, levels) == 0).all())
    padding = (0, 0) if spec.geometry is None or starts_at_zero else spec.geometry.padding
    codes = FrozenGrid(torch.zeros(()), torch.tensor(float(levels - 1)), levels)
    scaling = ChannelScaling(lower.reshape(shape), steps.reshape(shape), padding)
    return frozen_layer(spec, codes, spec.weight.scale * steps.mean(), bias, scaling, pads=not any(padding))


def _channel_shape(spec: LayerSpec) -> tuple[int, ...]:
    """Shape of one value per channel that broadcasts over the layer's input."""
    return (-1,) if spec.geometry is None else (-1, 1, 1)
