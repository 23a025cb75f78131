"""Quantized layers: the float layer plus one quantizer per input and one for the weight.

Zero padding comes before quantization, so a padded zero becomes the grid point nearest to zero, as on integer hardware.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srquant.grids.uniform import on_lattice
from srquant.grids.weight_bound_gradient import conv_with_bound_gradient, quantize_with_slope
from srquant.models.blocks.conv_geometry import ConvGeometry, conv_padding, geometry_of
from srquant.models.blocks.layers import Add, Matmul, MatrixProduct
from srquant.models.network import Network, modules_of
from srquant.quantizers.base import ActivationQuantizer, InputQuantizer, WeightQuantizer
from srquant.quantizers.module_spec import AddendsSpec, LayerSpec, MatmulSpec, ModuleSpec, SumSpec


class QuantModule(nn.Module):
    """Base of all quantized modules of a network.

    Attributes:
        slots: attributes that hold its activation quantizers, in the order of its inputs.
    """

    slots: tuple[str, ...]

    def quantizers(self) -> dict[str, InputQuantizer]:
        """Its activation quantizers by the suffix of the module's name: empty, or ``.left`` and ``.right``."""
        return {"" if len(self.slots) == 1 else f".{slot}": getattr(self, slot) for slot in self.slots}

    def float_module(self) -> nn.Module:
        """The module of the float network that this one replaced."""
        raise NotImplementedError

    def spec(self) -> ModuleSpec:
        """What files and engines need."""
        raise NotImplementedError


class QuantLayer(QuantModule):
    """A convolution or linear layer that computes on grid points of its input and its weight; the bias stays float.

    Attributes:
        lattice: spacing of its outputs, set by ``insertion.settle_on_lattice``; None before.
        cached_weight: the quantized weight; set only while nothing that it depends on is trained.
        next: name of the only module that puts the outputs on a grid, if there is one, and nothing else reads them.
    """

    slots = ("input_quantizer",)

    def __init__(
        self, layer: nn.Conv2d | nn.Linear, input_quantizer: InputQuantizer, quantizer: WeightQuantizer
    ) -> None:
        super().__init__()
        self.layer = layer
        self.input_quantizer = input_quantizer
        self.weight_quantizer = quantizer
        self.lattice: float | None = None
        self.cached_weight: Tensor | None = None
        self.next: str | None = None

    @property
    def weight(self) -> Tensor:
        """The float weight."""
        return self.layer.weight

    @property
    def geometry(self) -> ConvGeometry | None:
        """Geometry of a convolution; None for a linear layer."""
        return None

    @property
    def channels(self) -> int:
        """Number of input channels."""
        return self.weight.shape[1]

    @property
    def channel_axis(self) -> int:
        """Axis of the input's channels: 1 before a convolution, -1 before a linear layer."""
        return -1

    def float_module(self) -> nn.Conv2d | nn.Linear:
        """The float layer, with the weight as it is now."""
        return self.layer

    def points(self, x: Tensor) -> Tensor:
        """Grid points of the input, for a convolution with its padding."""
        points: Tensor = self.input_quantizer(x)
        return points

    @torch.no_grad()
    def spec(self) -> LayerSpec:
        """What files and engines need."""
        weight = self.weight_quantizer.integer_weight(scaled_weight(self.weight, self.input_quantizer))
        bias = None if self.layer.bias is None else self.layer.bias.detach().clone()
        grid, bits = self.input_quantizer.spec(), self.weight_quantizer.bits
        return LayerSpec(grid, weight, bits, bias, self.geometry, self.lattice)


class QuantConv2d(QuantLayer):
    """A quantized convolution."""

    layer: nn.Conv2d

    @property
    def geometry(self) -> ConvGeometry:
        """Stride, padding, dilation and groups."""
        return geometry_of(self.layer)

    @property
    def channels(self) -> int:
        """Number of input channels."""
        return self.layer.in_channels

    @property
    def channel_axis(self) -> int:
        """Axis of the input's channels."""
        return 1

    @property
    def padding(self) -> tuple[int, int]:
        """Zeros added on each side, per axis."""
        return conv_padding(self.layer)

    def points(self, x: Tensor) -> Tensor:
        """Grid points of the input with its padding."""
        return self.input_quantizer.padded(x, self.padding)

    def forward(self, x: Tensor) -> Tensor:
        """``N x C_in x H x W`` to ``N x C_out x H' x W'``."""
        layer, padding = self.layer, (0, 0)
        if self.input_quantizer.layer_pads:
            points, padding = self.input_quantizer(x), self.padding
        else:
            points = self.points(x)
        geometry = layer.stride, padding, layer.dilation, layer.groups
        bound = learned_bound(self)
        if bound is not None:
            return conv_with_bound_gradient(points, *_weight_and_slope(self, bound), bound, layer.bias, geometry)
        points, weight, bias = precise(points, quantized_weight(self), layer.bias, self.lattice)
        return on_lattice(F.conv2d(points, weight, bias, *geometry), self.lattice)


class QuantLinear(QuantLayer):
    """A quantized linear layer."""

    layer: nn.Linear

    def forward(self, x: Tensor) -> Tensor:
        """``... x in`` to ``... x out``."""
        points, weight, bias = precise(self.points(x), quantized_weight(self), self.layer.bias, self.lattice)
        return on_lattice(F.linear(points, weight, bias), self.lattice)


class QuantAdd(QuantModule):
    """``a + scale * b`` put on a grid: skip connections of policies with ``skip_bits``."""

    slots = ("quantizer",)

    def __init__(self, add: Add, quantizer: ActivationQuantizer) -> None:
        super().__init__()
        self.add = add
        self.quantizer = quantizer

    def float_module(self) -> Add:
        """The sum without its grid."""
        return self.add

    def spec(self) -> SumSpec:
        """What files and engines need."""
        return SumSpec(self.quantizer.spec(), self.add.scale)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Two tensors of one shape to their sum on the grid."""
        total: Tensor = self.quantizer(self.add(a, b))
        return total


class QuantAddends(QuantModule):
    """``a + scale * b`` of two addends on a grid each: residual blocks that quantize their skip connection (PAMS)."""

    slots = ("left", "right")

    def __init__(self, add: Add, left: InputQuantizer, right: InputQuantizer) -> None:
        super().__init__()
        self.add = add
        self.left = left
        self.right = right

    def float_module(self) -> Add:
        """The sum without its grids."""
        return self.add

    def spec(self) -> AddendsSpec:
        """What files and engines need."""
        return AddendsSpec(self.left.spec(), self.right.spec(), self.add.scale)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Two tensors of one shape to the sum of their grid points."""
        total: Tensor = self.add(self.left(a), self.right(b))
        return total


class QuantMatmul(QuantModule, MatrixProduct):
    """A matrix product of two activations, each on its grid (2DQuant section 3.1).

    Attributes:
        lattice: spacing of its outputs, set by ``insertion.settle_on_lattice``; None before.
    """

    slots = ("left", "right")

    def __init__(self, matmul: Matmul, left: ActivationQuantizer, right: ActivationQuantizer) -> None:
        super().__init__()
        self.matmul = matmul
        self.left = left
        self.right = right
        self.lattice: float | None = None

    def float_module(self) -> Matmul:
        """The product without its grids."""
        return self.matmul

    def spec(self) -> MatmulSpec:
        """What files and engines need."""
        return MatmulSpec(self.left.spec(), self.right.spec(), self.lattice)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """``... x N x K`` and ``... x K x M`` to ``... x N x M``."""
        a, b = self.left(a), self.right(b)
        product: Tensor = self.matmul(a, b) if self.lattice is None else self.matmul(a.double(), b.double())
        return on_lattice(product, self.lattice)


def quant_modules(network: Network) -> dict[str, QuantModule]:
    """Everything quantized in a network by name, in module order."""
    return modules_of(network.module, QuantModule)


def quant_layers(network: Network) -> dict[str, QuantLayer]:
    """The quantized convolutions and linear layers of a network by name, in module order."""
    return modules_of(network.module, QuantLayer)


def input_quantizers(network: Network) -> dict[str, InputQuantizer]:
    """Every activation quantizer by the name of what it quantizes, in module order; a shared one once.

    Names are those of ``collect_ranges.ActivationBounds``: of a layer, of a sum, of a matmul or of a sum's addends with
    ``.left`` or ``.right``.
    """
    modules = quant_modules(network).items()
    found = {f"{name}{side}": quantizer for name, module in modules for side, quantizer in module.quantizers().items()}
    first = {id(quantizer): name for name, quantizer in reversed(found.items())}
    return {name: quantizer for name, quantizer in found.items() if first[id(quantizer)] == name}


def activation_quantizers(network: Network) -> dict[str, ActivationQuantizer]:
    """Those of ``input_quantizers`` that have bounds, which training learns and guards."""
    found = input_quantizers(network)
    return {name: q for name, q in found.items() if isinstance(q, ActivationQuantizer)}  # the others have no bounds


def bounded_quantizer(layer: QuantLayer) -> ActivationQuantizer:
    """The input quantizer of a layer whose input quantizer must have bounds."""
    assert isinstance(layer.input_quantizer, ActivationQuantizer)  # callers go on with its bounds
    return layer.input_quantizer


def precise(
    points: Tensor, weight: Tensor, bias: Tensor | None, lattice: float | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Operands in float64 where a lattice is given, else unchanged."""
    if lattice is None:
        return points, weight, bias
    return points.double(), weight.double(), None if bias is None else bias.double()


def channel_steps(weight: Tensor, quantizer: InputQuantizer) -> Tensor | None:
    """Relative steps of a layer's input channels, broadcastable to its weight; None where channels share one grid.

    On integer hardware the steps are part of the weight: ``weight * channel_steps`` lies on the weight's grid.

    Args:
        weight: ``C_out x C_in/groups x ...``.
        quantizer: of the layer's input.
    """
    steps = quantizer.relative_step()
    return None if steps is None else expand_to_weight(steps, weight)


def scaled_weight(weight: Tensor, quantizer: InputQuantizer) -> Tensor:
    """The values that are put on the weight's grid: the weight times the relative steps of its input channels."""
    steps = channel_steps(weight, quantizer)
    return weight if steps is None else weight * steps


def expand_to_weight(per_channel: Tensor, weight: Tensor) -> Tensor:
    """One value per input channel, repeated for the output channels of each group: ``C_out x C_in/groups x 1 ...``."""
    per_group = weight.shape[1]
    groups = per_channel.numel() // per_group
    rows = per_channel.reshape(groups, per_group).repeat_interleave(weight.shape[0] // groups, 0)
    return rows.reshape(*rows.shape, *[1] * (weight.dim() - 2))


def quantized_weight(layer: QuantLayer) -> Tensor:
    """The weight on its grid, to be multiplied with grid points of the input; float64 where settled on a lattice."""
    if layer.cached_weight is not None:
        return layer.cached_weight.to(layer.weight.device)
    scaled = scaled_weight(layer.weight, layer.input_quantizer)
    if layer.lattice is not None:
        return _settled_weight(layer, scaled)
    points, steps = layer.weight_quantizer(scaled), channel_steps(layer.weight, layer.input_quantizer)
    return points if steps is None else points / steps


def learned_bound(layer: QuantLayer) -> Tensor | None:
    """The bound of the weight's grid, if it is all that is being learned of the weight and bias, else None."""
    constants = layer.layer.weight, layer.layer.bias
    if layer.lattice is not None or layer.cached_weight is not None or not torch.is_grad_enabled():
        return None
    if any(value is not None and value.requires_grad for value in constants):
        return None
    return layer.weight_quantizer.learned_bound()


def _weight_and_slope(layer: QuantLayer, bound: Tensor) -> tuple[Tensor, Tensor]:
    """The quantized weight, and its derivative in the bound."""
    steps = channel_steps(layer.weight, layer.input_quantizer)
    scaled = scaled_weight(layer.weight, layer.input_quantizer)
    points, slope = quantize_with_slope(scaled, bound, layer.weight_quantizer.levels)
    return (points, slope) if steps is None else (points / steps, slope / steps)


def output_scale(layer: QuantLayer) -> Tensor:
    """Factor from sums of integers to the outputs of a settled layer, ``C_out``: multiples of its lattice."""
    integers = layer.weight_quantizer.integer_weight(scaled_weight(layer.weight, layer.input_quantizer))
    return on_lattice(integers.scale.double() * bounded_quantizer(layer).step().mean().double(), layer.lattice)


def _settled_weight(layer: QuantLayer, scaled: Tensor) -> Tensor:
    """The weight with a scale that makes the output scale exactly a multiple of the lattice, as in the frozen layer."""
    integers, steps = layer.weight_quantizer.integer_weight(scaled), bounded_quantizer(layer).step()
    step, mean = steps.double(), steps.mean().double()
    points = replace(integers, scale=output_scale(layer).double() / mean).values()
    return points if step.dim() == 0 else points / expand_to_weight(step / mean, points)
