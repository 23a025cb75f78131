"""Convolutions and linear layers on integers: fixed grids, no learnable parameters.

Padding zero is a grid point, so a convolution on the grid ``step * (k - z) + offset`` is
``step * weight_scale * conv(W, k - z) + offset * weight_scale * sum(W) + bias``: any pair of bounds runs on
standard integer convolutions, and the offset is a bias per output channel.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srquant.deploy.frozen.grid import FrozenGrid
from srquant.devices import without_cudnn
from srquant.grids.uniform import on_lattice
from srquant.quantizers.module_spec import LayerSpec

EXACT_IN_FLOAT32 = 2.0**24


class FrozenLayer(nn.Module):
    """Base of integer convolutions and linear layers.

    Args:
        grid: the input's grid.
        weight: int8 ``C_out x ...`` in -127..127.
        weight_scale: float32 ``C_out``; the float weight is ``weight * weight_scale``.
        bias: float32 ``C_out``, or None.
        weight_bits: bits per weight in the file.
        before: applied to the input first: scales channels to a common grid, or puts values on points.
        lattice: spacing of output scale and bias, a power of two; None leaves them as they are.

    Attributes:
        input_bits: nominal bits of the input: those of its grid, unless ``before`` puts it on fewer points.
        piecewise_codes: points of a piecewise linear grid, may exceed ``2**input_bits``; None for other grids.
    """

    static = True
    choices: tuple[int, ...] = ()

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
        self.input_bits = grid.bits
        self.piecewise_codes: int | None = None
        self.accumulator = exact_accumulator(weight, grid)

    @property
    def code_source(self) -> FrozenGrid:
        """The module whose method ``codes`` gives the codes of the input."""
        return self.grid

    def output_scale(self) -> Tensor:
        """Factor from integer sums to values, ``C_out``."""
        return on_lattice(self.weight_scale.double() * self.grid.step, self.lattice).float()

    def corrected_bias(self) -> Tensor:
        """Bias plus the contribution of the grid's offset, ``C_out``."""
        scale = settled_scale(self.weight_scale, self.grid.step, self.lattice)
        return on_lattice(offset_bias(self.grid, self.weight, scale, self.bias), self.lattice).float()

    def integers(self, x: Tensor) -> Tensor:
        """Values to integers ``k - z``, in the float type that holds their sums exactly."""
        integers: Tensor = self.grid(x if self.before is None else self.before(x))
        return integers.to(self.accumulator)


class FrozenConv2d(FrozenLayer):
    """``Conv2d`` with integer weights on integer activations.

    Args:
        grid: the input's grid.
        weight: int8 ``C_out x C_in/groups x kH x kW`` in -127..127.
        weight_scale: as ``FrozenLayer``.
        bias: as ``FrozenLayer``.
        stride: per axis.
        padding: per axis, zeros added before quantization.
        dilation: per axis.
        groups: number of groups.
        weight_bits: as ``FrozenLayer``.
        before: as ``FrozenLayer``.
        lattice: as ``FrozenLayer``.
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
        with without_cudnn(integers):
            sums = F.conv2d(integers, weight, None, self.stride, self.padding, self.dilation, self.groups).float()
        shape = (1, -1, 1, 1)
        return sums * self.output_scale().view(shape) + self.corrected_bias().view(shape)


class FrozenLinear(FrozenLayer):
    """``Linear`` with integer weights on integer activations; arguments as ``FrozenLayer``, weight ``out x in``."""

    def forward(self, x: Tensor) -> Tensor:
        """``... x in`` values to ``... x out`` values."""
        sums = F.linear(self.integers(x), self.weight.to(self.accumulator)).float()
        return sums * self.output_scale() + self.corrected_bias()


def frozen_layer(
    spec: LayerSpec,
    grid: FrozenGrid,
    scale: Tensor | None = None,
    bias: Tensor | None = None,
    before: nn.Module | None = None,
    pads: bool = True,
) -> FrozenConv2d | FrozenLinear:
    """The frozen layer of a spec.

    Args:
        spec: of the layer.
        grid: of the input, after ``before``.
        scale: of the weights; None: the spec's.
        bias: None: the spec's.
        before: applied to the input first.
        pads: whether the convolution pads; if not, ``before`` must.
    """
    integers = spec.weight.integers()
    scale, bias = spec.weight.scale if scale is None else scale, spec.bias if bias is None else bias
    layer: FrozenConv2d | FrozenLinear
    if spec.geometry is None:
        layer = FrozenLinear(grid, integers, scale, bias, spec.weight_bits, before, spec.lattice)
    else:
        g = spec.geometry
        window = g.stride, g.padding if pads else (0, 0), g.dilation, g.groups
        layer = FrozenConv2d(grid, integers, scale, bias, *window, spec.weight_bits, before, spec.lattice)
    layer.input_bits = spec.grid.bits
    return layer


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
