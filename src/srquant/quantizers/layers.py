"""Quantized layers: the float layer plus one quantizer per input and one for the weight.

Zero padding comes before quantization, so a padded zero becomes the grid point nearest to zero, as on integer hardware.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srquant.grids.uniform import on_lattice
from srquant.grids.weight_bound_gradient import directed_convolution, direction
from srquant.models.blocks.layers import Add, Matmul, MatrixProduct
from srquant.models.network import Network
from srquant.quantizers.base import ActivationQuantizer, WeightQuantizer
from srquant.quantizers.by_picture import ConditionalQuantizer
from srquant.quantizers.dan import DynamicQuantizer

InputQuantizer = ActivationQuantizer | ConditionalQuantizer
"""What stands before a layer."""


class QuantConv2d(nn.Module):
    """A convolution that computes on grid points of its input and its weight; the bias stays float.

    ``lattice`` is the spacing of its outputs once ``lattice.settle`` has seen it; ``held`` its quantized weight
    while that is known to rest.
    """

    def __init__(self, layer: nn.Conv2d, input_quantizer: InputQuantizer, quantizer: WeightQuantizer) -> None:
        super().__init__()
        self.layer = layer
        self.input_quantizer = input_quantizer
        self.weight_quantizer = quantizer
        self.lattice: float | None = None
        self.held: Tensor | None = None

    @property
    def weight(self) -> Tensor:
        """The float weight."""
        return self.layer.weight

    @property
    def padding(self) -> tuple[int, int]:
        """Zeros added on each side, per axis."""
        return conv_padding(self.layer)

    def forward(self, x: Tensor) -> Tensor:
        """``N x C_in x H x W`` to ``N x C_out x H' x W'``."""
        layer, padding = self.layer, (0, 0)
        if isinstance(self.input_quantizer, DynamicQuantizer):
            points, padding = self.input_quantizer(x), self.padding
        else:
            points = self.input_quantizer.padded(x, self.padding)
        geometry = layer.stride, padding, layer.dilation, layer.groups
        bound = learned_bound(self)
        if bound is not None:
            return directed_convolution(points, *_directed_weight(self, bound), bound, layer.bias, geometry)
        points, weight, bias = precise(points, quantized_weight(self), layer.bias, self.lattice)
        return on_lattice(F.conv2d(points, weight, bias, *geometry), self.lattice)


class QuantLinear(nn.Module):
    """A linear layer that computes on grid points of its input and its weight; the bias stays float.

    ``lattice`` is the spacing of its outputs once ``lattice.settle`` has seen it; ``held`` its quantized weight
    while that is known to rest.
    """

    def __init__(self, layer: nn.Linear, input_quantizer: InputQuantizer, quantizer: WeightQuantizer) -> None:
        super().__init__()
        self.layer = layer
        self.input_quantizer = input_quantizer
        self.weight_quantizer = quantizer
        self.lattice: float | None = None
        self.held: Tensor | None = None

    @property
    def weight(self) -> Tensor:
        """The float weight."""
        return self.layer.weight

    def forward(self, x: Tensor) -> Tensor:
        """``... x in`` to ``... x out``."""
        points, weight, bias = precise(self.input_quantizer(x), quantized_weight(self), self.layer.bias, self.lattice)
        return on_lattice(F.linear(points, weight, bias), self.lattice)


class QuantAdd(nn.Module):
    """``a + scale * b`` put on a grid: the skip stream of policies with ``skip_bits``."""

    def __init__(self, add: Add, quantizer: ActivationQuantizer) -> None:
        super().__init__()
        self.add = add
        self.quantizer = quantizer

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Two tensors of one shape to their sum on the grid."""
        total: Tensor = self.quantizer(self.add(a, b))
        return total


class QuantAddends(nn.Module):
    """``a + scale * b`` of two addends on a grid each: residual blocks that quantize what goes past them (PAMS)."""

    def __init__(self, add: Add, left: InputQuantizer, right: InputQuantizer) -> None:
        super().__init__()
        self.add = add
        self.left = left
        self.right = right

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Two tensors of one shape to the sum of their grid points."""
        total: Tensor = self.add(self.left(a), self.right(b))
        return total


class QuantMatmul(MatrixProduct):
    """A matrix product of two activations, each on its grid (2DQuant section 3.1).

    ``lattice`` is the spacing of its outputs once ``lattice.settle`` has seen it.
    """

    def __init__(self, matmul: Matmul, left: ActivationQuantizer, right: ActivationQuantizer) -> None:
        super().__init__()
        self.matmul = matmul
        self.left = left
        self.right = right
        self.lattice: float | None = None

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """``... x N x K`` and ``... x K x M`` to ``... x N x M``."""
        a, b = self.left(a), self.right(b)
        product: Tensor = self.matmul(a, b) if self.lattice is None else self.matmul(a.double(), b.double())
        return on_lattice(product, self.lattice)


QuantLayer = QuantConv2d | QuantLinear


def quant_layers(network: Network) -> dict[str, QuantLayer]:
    """The quantized convolutions and linear layers of a network by name, in module order."""
    modules = network.module.named_modules()
    return {name: module for name, module in modules if isinstance(module, QuantConv2d | QuantLinear)}


def activation_quantizers(network: Network) -> dict[str, ActivationQuantizer]:
    """Every activation quantizer with bounds by the name of what it quantizes, in module order; a shared one once.

    Names are those of ``statistics.ActivationBounds``: of a layer, of a sum, of a matmul or of a sum's addends with
    ``.left`` or ``.right``.
    """
    found: dict[str, InputQuantizer] = {}
    for name, module in network.module.named_modules():
        if isinstance(module, QuantConv2d | QuantLinear | QuantAdd):
            found[name] = quantizer_of(module)
        elif isinstance(module, QuantMatmul | QuantAddends):
            found |= {f"{name}.left": module.left, f"{name}.right": module.right}
    first = {id(quantizer): name for name, quantizer in reversed(found.items())}
    bounded = {name: q for name, q in found.items() if isinstance(q, ActivationQuantizer)}
    return {name: quantizer for name, quantizer in bounded.items() if first[id(quantizer)] == name}


def quantizer_of(module: QuantLayer | QuantAdd) -> InputQuantizer:
    """The activation quantizer of a layer or sum."""
    return module.quantizer if isinstance(module, QuantAdd) else module.input_quantizer


def bounded_quantizer(layer: QuantLayer) -> ActivationQuantizer:
    """The quantizer of a layer whose grid doesn't depend on the picture."""
    assert isinstance(layer.input_quantizer, ActivationQuantizer)
    return layer.input_quantizer


def precise(
    points: Tensor, weight: Tensor, bias: Tensor | None, lattice: float | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Operands in float64 where results belong on a lattice, else as they are."""
    if lattice is None:
        return points, weight, bias
    return points.double(), weight.double(), None if bias is None else bias.double()


def channel_steps(weight: Tensor, quantizer: InputQuantizer) -> Tensor | None:
    """Relative steps of a layer's input channels, broadcastable to its weight; None where they share one grid.

    On integer hardware the steps are part of the weight: ``weight * channel_steps`` lies on the weight's grid.

    Args:
        weight: ``C_out x C_in/groups x ...``.
        quantizer: of the layer's input.
    """
    steps = quantizer.relative_step()
    return None if steps is None else expand_to_weight(steps, weight)


def scaled_weight(weight: Tensor, quantizer: InputQuantizer) -> Tensor:
    """What lies on the weight's grid: the weight times the relative steps of its input channels."""
    steps = channel_steps(weight, quantizer)
    return weight if steps is None else weight * steps


def expand_to_weight(per_channel: Tensor, weight: Tensor) -> Tensor:
    """One value per input channel, repeated for the output channels of each group: ``C_out x C_in/groups x 1 ...``."""
    per_group = weight.shape[1]
    groups = per_channel.numel() // per_group
    rows = per_channel.reshape(groups, per_group).repeat_interleave(weight.shape[0] // groups, 0)
    return rows.reshape(*rows.shape, *[1] * (weight.dim() - 2))


def quantized_weight(layer: QuantLayer) -> Tensor:
    """The weight on its grid, to be used with the values of the input's grid; float64 where settled on a lattice."""
    if layer.held is not None:
        return layer.held
    scaled = scaled_weight(layer.weight, layer.input_quantizer)
    if layer.lattice is not None:
        return _settled_weight(layer, scaled)
    points, steps = layer.weight_quantizer(scaled), channel_steps(layer.weight, layer.input_quantizer)
    return points if steps is None else points / steps


def learned_bound(layer: QuantLayer) -> Tensor | None:
    """The one bound of the weight's grid where it is all that is being learned of the weight, else None."""
    quantizer, constants = layer.weight_quantizer, (layer.layer.weight, layer.layer.bias)
    if type(quantizer) is not WeightQuantizer or quantizer._forward_pre_hooks or layer.lattice is not None:
        return None
    if layer.held is not None or any(value is not None and value.requires_grad for value in constants):
        return None
    bound = quantizer.single_bound()
    return bound if torch.is_grad_enabled() and bound is not None and bound.requires_grad else None


def _directed_weight(layer: QuantLayer, bound: Tensor) -> tuple[Tensor, Tensor]:
    """The quantized weight, and how it changes with the bound."""
    steps = channel_steps(layer.weight, layer.input_quantizer)
    scaled = scaled_weight(layer.weight, layer.input_quantizer)
    points, slope = direction(scaled, bound, layer.weight_quantizer.levels)
    return (points, slope) if steps is None else (points / steps, slope / steps)


def _settled_weight(layer: QuantLayer, scaled: Tensor) -> Tensor:
    """With a scale that makes the output's exactly a multiple of the lattice, as it is in the frozen layer."""
    integers, steps = layer.weight_quantizer.integer_weight(scaled), bounded_quantizer(layer).step()
    step, mean = steps.double(), steps.mean().double()
    outputs = on_lattice(integers.scale.double() * mean, layer.lattice)
    points = replace(integers, scale=outputs.double() / mean).values()
    return points if step.dim() == 0 else points / expand_to_weight(step / mean, points)


def conv_padding(layer: nn.Conv2d) -> tuple[int, int]:
    """Zeros added on each side, per axis; ``same`` is resolved."""
    if isinstance(layer.padding, str):
        if layer.padding == "valid":
            return 0, 0
        (kernel_h, kernel_w), (dilation_h, dilation_w) = layer.kernel_size, layer.dilation
        return dilation_h * (kernel_h - 1) // 2, dilation_w * (kernel_w - 1) // 2
    return layer.padding[0], layer.padding[1]
