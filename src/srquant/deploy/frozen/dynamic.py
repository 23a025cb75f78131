"""Deployable layers whose input grid depends on the input: integer weights, computed in float.

The step of an input channel differs from picture to picture, so an integer convolution, which has one fixed scale per
output, can't compute them. ``DynamicPoints`` (DAN) runs in all engines, a ``ConditionalQuantizer`` in PyTorch only.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srquant.deploy.frozen.grid import FrozenGrid, frozen_grid
from srquant.models.blocks.conv_geometry import ConvGeometry, layer_of
from srquant.quantizers.base import zero_padded
from srquant.quantizers.by_picture import ConditionalQuantizer, ConditionalSpec
from srquant.quantizers.dan import SMALLEST_WIDTH, DANSpec, channel_range, clip, normalise, restore
from srquant.quantizers.module_spec import LayerSpec


class DynamicPoints(nn.Module):
    """Values to grid points of their channel, as ``quantizers.dan.DANQuantizer``.

    Args:
        grid: of the values normalised to [-1, 1].
        channel_axis: 1 before a convolution, -1 before a linear layer.
        rank: number of the input's axes; only exports use it.
        limits: smallest and largest value that is not clipped first, float32 ``2``; None: nothing is clipped.
    """

    def __init__(self, grid: FrozenGrid, channel_axis: int, rank: int = 4, limits: Tensor | None = None) -> None:
        super().__init__()
        self.grid = grid
        self.channel_axis = channel_axis
        self.rank = rank
        self.limits: Tensor | None
        self.register_buffer("limits", limits)

    @property
    def bits(self) -> int:
        """Bits of the grid."""
        return self.grid.bits

    @property
    def candidates(self) -> tuple[int, ...]:
        """Bits among which the grid chooses for each picture; empty, as the bits are fixed."""
        return ()

    @property
    def code_source(self) -> FrozenGrid:
        """The module whose method ``codes`` gives the codes of its input."""
        return self.grid

    @property
    def axes(self) -> tuple[int, ...]:
        """Axes over which smallest and largest value of a channel are taken."""
        return tuple(axis for axis in range(1, self.rank) if axis != self.channel_axis % self.rank)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same."""
        x = clip(x, self.limits)
        smallest, width = channel_range(x, self.channel_axis)
        varies = width > SMALLEST_WIDTH
        width = torch.where(varies, width, 1.0)
        codes = self.grid(normalise(x, smallest, width)) + self.grid.zero_point
        return torch.where(varies, restore(codes * self.grid.step + self.grid.lower, smallest, width), x)


class DynamicLayer(nn.Module):
    """A convolution (with a geometry) or linear layer (without) of integer weights on dynamic grids.

    Args:
        points: values to grid points.
        weight: int8 ``C_out x C_in/groups x kH x kW`` or ``out x in``, in -127..127.
        weight_scale: float32 ``C_out``; the float weight is ``weight * weight_scale``.
        bias: float32 ``C_out``, or None.
        weight_bits: bits per weight in the file.
        geometry: of a convolution; zeros are padded after the quantizer.
    """

    static = False
    piecewise_codes = None

    def __init__(
        self,
        points: DynamicPoints | ConditionalQuantizer,
        weight: Tensor,
        weight_scale: Tensor,
        bias: Tensor | None,
        weight_bits: int,
        geometry: ConvGeometry | None,
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
        self.geometry = geometry

    def forward(self, x: Tensor) -> Tensor:
        """As the float layer; padding is a separate step as in the quantized layer, for the same order of sums."""
        points, weight, w = self.points(x), self.float_weight(), self.geometry
        if w is None:
            return F.linear(points, weight, self.bias)
        return F.conv2d(zero_padded(points, w.padding), weight, self.bias, w.stride, 0, w.dilation, w.groups)

    @property
    def input_bits(self) -> int:
        """Nominal bits of the input; the most where they depend on the picture."""
        return self.points.bits

    @property
    def choices(self) -> tuple[int, ...]:
        """Bits among which its quantizer chooses for each picture; empty where its bits are fixed."""
        return self.points.candidates

    @property
    def code_source(self) -> FrozenGrid | ConditionalQuantizer:
        """The module whose method ``codes`` gives the codes of the input."""
        return self.points.code_source

    def float_weight(self) -> Tensor:
        """The float32 weights: integers times scale."""
        return (self.weight * self.weight_scale.double().view(-1, *[1] * (self.weight.dim() - 1))).float()

    def float_layer(self) -> nn.Conv2d | nn.Linear:
        """The float layer, without its quantizer."""
        weight = self.float_weight()
        return layer_of(weight, torch.zeros(len(weight)) if self.bias is None else self.bias, self.geometry)


def dan_layer(spec: LayerSpec, grid: DANSpec) -> DynamicLayer:
    """The layer of a grid on normalised channels."""
    axis = -1 if spec.geometry is None else 1
    return _dynamic_layer(spec, DynamicPoints(frozen_grid(grid.grid), axis, limits=grid.limits))


def conditional_layer(spec: LayerSpec, grid: ConditionalSpec) -> DynamicLayer:
    """The layer of a quantizer that is kept as a module, not frozen to numbers."""
    return _dynamic_layer(spec, grid.quantizer)


def _dynamic_layer(spec: LayerSpec, points: DynamicPoints | ConditionalQuantizer) -> DynamicLayer:
    weight = spec.weight
    return DynamicLayer(points, weight.integers(), weight.scale, spec.bias, spec.weight_bits, spec.geometry)
