"""What a frozen layer is made of: exactly what the file holds, and how a layer is put together from it."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from srquant.deploy.export.nodes import Window
from srquant.deploy.frozen.dynamic import DynamicLayer, DynamicPoints
from srquant.deploy.frozen.grid import ChannelScaling, FrozenGrid
from srquant.deploy.frozen.layers import FrozenConv2d, FrozenLinear, settled_scale
from srquant.deploy.frozen.matmul import FrozenMatmul
from srquant.deploy.frozen.piecewise import Pieces, PiecewisePoints, fine_grid, pieces_of
from srquant.deploy.frozen.sums import FrozenAdd, FrozenAddends
from srquant.grids.uniform import on_lattice, step_size, zero_point
from srquant.quantizers.base import ActivationQuantizer, IntegerWeight
from srquant.quantizers.by_picture import ConditionalQuantizer
from srquant.quantizers.dan import DynamicQuantizer
from srquant.quantizers.layers import (
    InputQuantizer,
    QuantAdd,
    QuantAddends,
    QuantConv2d,
    QuantLinear,
    QuantMatmul,
    conv_padding,
    expand_to_weight,
    scaled_weight,
)
from srquant.quantizers.plq import PiecewiseQuantizer
from srquant.quantizers.shifted import ShiftedQuantizer


@dataclass(frozen=True)
class Bounds:
    """An activation grid.

    Attributes:
        lower: float32, 0-d or one value per input channel.
        upper: same shape, above ``lower``.
        bits: 2..8.
        branch_bits: where bits depend on the picture, those of its three branches; ``bits`` are the middle ones, and
            the bounds belong to the last. See ``deploy.frozen.branches``.
        pieces: regions of a piecewise linear grid, whose points are then put on 256 between the bounds.
        narrow: whether the grid has ``2**bits - 1`` points.
        shift: added to each input channel first, float32 ``C_in``; zeros of padding are not shifted.
    """

    lower: Tensor
    upper: Tensor
    bits: int
    branch_bits: tuple[int, ...] = ()
    pieces: Pieces | None = None
    narrow: bool = False
    shift: Tensor | None = None

    @property
    def levels(self) -> int:
        """Number of grid points."""
        return (1 << self.bits) - self.narrow


@dataclass(frozen=True)
class LayerParts:
    """A frozen convolution (with a window) or linear layer (without).

    Attributes:
        bounds: the input's grid.
        weight: codes and the integers they stand for.
        weight_bits: 2..8.
        bias: float32 ``C_out``, or None.
        window: of a convolution.
        lattice: spacing of output scale and bias, or None.
        dynamic: whether the bounds are of values that are normalised channel by channel (``quantizers.dan``).
    """

    bounds: Bounds
    weight: IntegerWeight
    weight_bits: int
    bias: Tensor | None
    window: Window | None
    lattice: float | None
    dynamic: bool = False


@dataclass(frozen=True)
class ConditionalParts:
    """A convolution (with a window) or linear layer (without) behind a quantizer that depends on what it sees.

    Attributes:
        quantizer: on the CPU, nothing to learn.
        weight: codes and the integers they stand for.
        weight_bits: 2..8.
        bias: float32 ``C_out``, or None.
        window: of a convolution.
    """

    quantizer: ConditionalQuantizer
    weight: IntegerWeight
    weight_bits: int
    bias: Tensor | None
    window: Window | None


WeightParts = LayerParts | ConditionalParts
"""Parts that have a weight."""


@dataclass(frozen=True)
class SumParts:
    """``a + scale * b`` on a grid."""

    bounds: Bounds
    scale: float


@dataclass(frozen=True)
class AddendsParts:
    """``a + scale * b`` of two addends, each on its grid or behind a quantizer that depends on what it sees."""

    left: Bounds | ConditionalQuantizer
    right: Bounds | ConditionalQuantizer
    scale: float


@dataclass(frozen=True)
class MatmulParts:
    """A matrix product of two activations: both grids, each one pair of bounds, and the spacing of the results."""

    left: Bounds
    right: Bounds
    lattice: float | None


Parts = LayerParts | ConditionalParts | SumParts | AddendsParts | MatmulParts


def grids(parts: Parts) -> dict[str, Bounds]:
    """The activation grids by the name under which the file holds their bounds."""
    if isinstance(parts, ConditionalParts):
        return {}
    if isinstance(parts, AddendsParts | MatmulParts):
        sides = {"left.bounds": parts.left, "right.bounds": parts.right}
        return {name: bounds for name, bounds in sides.items() if isinstance(bounds, Bounds)}
    return {"bounds": parts.bounds}


def conditional_of(parts: Parts) -> dict[str, ConditionalQuantizer]:
    """The quantizers that depend on what they see, by what stands before the names of their tensors in the file."""
    if isinstance(parts, ConditionalParts):
        return {"quantizer.": parts.quantizer}
    if not isinstance(parts, AddendsParts):
        return {}
    sides = {"left.quantizer.": parts.left, "right.quantizer.": parts.right}
    return {name: quantizer for name, quantizer in sides.items() if isinstance(quantizer, ConditionalQuantizer)}


@torch.no_grad()
def take_apart(module: QuantConv2d | QuantLinear | QuantAdd | QuantAddends | QuantMatmul) -> Parts:
    """The parts of a quantized layer."""
    if isinstance(module, QuantMatmul):
        return MatmulParts(_bounds(module.left), _bounds(module.right), module.lattice)
    if isinstance(module, QuantAddends):
        return AddendsParts(_addend(module.left), _addend(module.right), module.add.scale)
    if isinstance(module, QuantAdd):
        return SumParts(_bounds(module.quantizer), module.add.scale)
    layer, quantizer = module.layer, module.input_quantizer
    weight = module.weight_quantizer.integer_weight(scaled_weight(module.weight, quantizer))
    bits = module.weight_quantizer.bits
    bias = None if layer.bias is None else layer.bias.detach().clone()
    window = window_of(module.layer) if isinstance(module, QuantConv2d) else None
    if isinstance(quantizer, ConditionalQuantizer):
        return ConditionalParts(deployable(quantizer), weight, bits, bias, window)
    dynamic = isinstance(quantizer, DynamicQuantizer)
    return LayerParts(_bounds(quantizer), weight, bits, bias, window, module.lattice, dynamic)


def _addend(quantizer: InputQuantizer) -> Bounds | ConditionalQuantizer:
    return deployable(quantizer) if isinstance(quantizer, ConditionalQuantizer) else _bounds(quantizer)


def deployable(quantizer: ConditionalQuantizer) -> ConditionalQuantizer:
    """A copy on the CPU with nothing to learn."""
    return copy.deepcopy(quantizer).cpu().eval().requires_grad_(False)


def window_of(conv: nn.Conv2d) -> Window:
    """How a convolution's kernel moves."""
    return Window(_pair(conv.stride), conv_padding(conv), _pair(conv.dilation), conv.groups)


def put_together(parts: Parts) -> nn.Module:
    """The frozen layer made of these parts."""
    if isinstance(parts, MatmulParts):
        return FrozenMatmul(_grid(parts.left), _grid(parts.right), parts.lattice)
    if isinstance(parts, AddendsParts):
        left, right = (_grid(side) if isinstance(side, Bounds) else side for side in (parts.left, parts.right))
        return FrozenAddends(left, right, parts.scale)
    if isinstance(parts, SumParts):
        return FrozenAdd(_grid(parts.bounds), parts.scale)
    if isinstance(parts, ConditionalParts):
        return _dynamic_layer(parts, parts.quantizer)
    if parts.dynamic:
        return _dynamic_layer(parts, DynamicPoints(_grid(parts.bounds), -1 if parts.window is None else 1))
    if parts.bounds.pieces is not None:
        return _layer_on_pieces(parts, parts.bounds.pieces)
    if parts.bounds.shift is not None:
        return _layer_behind_shift(parts, parts.bounds.shift)
    if parts.bounds.lower.dim() == 0:
        return _layer(parts, _grid(parts.bounds), parts.weight.scale, parts.bias, None)
    return _layer_on_channel_grids(parts)


def _dynamic_layer(parts: WeightParts, points: DynamicPoints | ConditionalQuantizer) -> DynamicLayer:
    weight, scale = parts.weight.integers(), parts.weight.scale
    return DynamicLayer(points, weight, scale, parts.bias, parts.weight_bits, parts.window)


def _layer(
    parts: LayerParts, grid: FrozenGrid, scale: Tensor, bias: Tensor | None, before: nn.Module | None
) -> FrozenConv2d | FrozenLinear:
    weight = parts.weight.integers()
    if parts.window is None:
        return FrozenLinear(grid, weight, scale, bias, parts.weight_bits, before, parts.lattice)
    w = parts.window
    padding = (0, 0) if isinstance(before, ChannelScaling) and any(before.padding) else w.padding
    return FrozenConv2d(
        grid, weight, scale, bias, w.stride, padding, w.dilation, w.groups, parts.weight_bits, before, parts.lattice
    )


def _layer_on_pieces(parts: LayerParts, pieces: Pieces) -> nn.Module:
    points = PiecewisePoints(pieces.edges, pieces.levels, parts.bounds.bits)
    grid = fine_grid(parts.bounds.lower, parts.bounds.upper, points)
    return _layer(parts, grid, parts.weight.scale, parts.bias, points)


def _layer_behind_shift(parts: LayerParts, shift: Tensor) -> nn.Module:
    """Channels are shifted to one grid; the layer pads with the code of zero, which is a grid point."""
    lower = -shift.reshape((-1,) if parts.window is None else (-1, 1, 1))
    scaling = ChannelScaling(lower, torch.ones_like(lower), (0, 0))
    return _layer(parts, _grid(parts.bounds), parts.weight.scale, parts.bias, scaling)


def _layer_on_channel_grids(parts: LayerParts) -> nn.Module:
    """Channels are brought to the codes 0..levels-1; their steps are in the weight, their lower bounds in the bias."""
    lower, upper, levels = parts.bounds.lower, parts.bounds.upper, parts.bounds.levels
    steps = step_size(lower, upper, levels)
    integers = parts.weight.integers().double()
    shift = expand_to_weight(lower.double() / steps.double() * steps.mean().double(), integers)
    scale = settled_scale(parts.weight.scale, float(steps.mean()), parts.lattice)
    added = (integers * shift).flatten(1).sum(1) * scale
    bias = on_lattice(added if parts.bias is None else added + parts.bias, parts.lattice).float()
    padding = (0, 0) if parts.window is None else parts.window.padding
    zero_codes = zero_point(lower, upper, levels)
    shape = (-1,) if parts.window is None else (-1, 1, 1)
    starts_at_zero = bool((zero_codes == 0).all())
    scaling = ChannelScaling(lower.reshape(shape), steps.reshape(shape), (0, 0) if starts_at_zero else padding)
    grid = FrozenGrid(torch.zeros(()), torch.tensor(float(levels - 1)), levels)
    return _layer(parts, grid, parts.weight.scale * steps.mean(), bias, scaling)


def _bounds(quantizer: ActivationQuantizer) -> Bounds:
    shape = () if quantizer.lower.dim() == 0 else (-1,)
    lower, upper = (bound.detach().reshape(shape).clone() for bound in (quantizer.lower, quantizer.upper))
    pieces = pieces_of(quantizer) if isinstance(quantizer, PiecewiseQuantizer) else None
    shift = quantizer.shift.detach().flatten().clone() if isinstance(quantizer, ShiftedQuantizer) else None
    return Bounds(lower, upper, quantizer.bits, pieces=pieces, narrow=quantizer.narrow, shift=shift)


def _grid(bounds: Bounds) -> FrozenGrid:
    return FrozenGrid(bounds.lower, bounds.upper, bounds.levels)


def _pair(values: tuple[int, ...]) -> tuple[int, int]:
    height, width = values
    return height, width
