"""Layers in training whose weights and inputs are quantized by RLQ."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srquant.insertion.policy import LayerBits
from srquant.methods.quantsr.rlq import ActivationRLQ, WeightRLQ
from srquant.models.blocks.conv_geometry import conv_padding
from srquant.models.blocks.layers import Matmul
from srquant.models.hooks import watch_inputs
from srquant.models.network import modules_of
from srquant.quantizers.layers import QuantConv2d, QuantLayer, QuantLinear, QuantMatmul


class RLQLayer(nn.Module):
    """A convolution or linear layer in training; zeros of padding are added after ``tau`` and the quantizer.

    Args:
        layer: its weight and bias are trained as well.
        bits: of weight and input.
        k: of ``phi``; 0 for straight-through rounding.
    """

    def __init__(self, layer: nn.Conv2d | nn.Linear, bits: LayerBits, k: float) -> None:
        super().__init__()
        self.layer = layer
        self.weight_quantizer = WeightRLQ(bits.weight, k)
        self.weight_quantizer.start(layer.weight)
        linear = isinstance(layer, nn.Linear)
        channels = layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
        self.input_quantizer = ActivationRLQ(bits.activation, k, channels, -1 if linear else -3)

    def forward(self, x: Tensor) -> Tensor:
        """Shapes as those of the float layer."""
        layer, points = self.layer, self.input_quantizer(x)
        weight = self.weight_quantizer(layer.weight)
        if isinstance(layer, nn.Linear):
            return F.linear(points, weight, layer.bias)
        padding = conv_padding(layer)
        return F.conv2d(points, weight, layer.bias, layer.stride, padding, layer.dilation, layer.groups)

    def deployable(self) -> QuantLayer:
        """The same layer with fixed bounds; shares weight and bias."""
        quantizers = self.input_quantizer.deployable(), self.weight_quantizer.deployable()
        if isinstance(self.layer, nn.Linear):
            return QuantLinear(self.layer, *quantizers)
        return QuantConv2d(self.layer, *quantizers)


class RLQMatmul(nn.Module):
    """A matrix product of two activations in training."""

    def __init__(self, matmul: Matmul, bits: int, k: float) -> None:
        super().__init__()
        self.matmul = matmul
        self.left, self.right = (ActivationRLQ(bits, k, None) for _ in range(2))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """``... x N x K`` and ``... x K x M`` to ``... x N x M``."""
        product: Tensor = self.matmul(self.left(a), self.right(b))
        return product

    def deployable(self) -> QuantMatmul:
        """The same product with fixed bounds."""
        return QuantMatmul(self.matmul, self.left.deployable(), self.right.deployable())


@torch.no_grad()
def start_activations(network: nn.Module, images: Tensor) -> None:
    """Start every activation quantizer from a first batch, ``N x 3 x H x W``, in the order of the layers.

    Layers that are computed later get the outputs of layers that are quantized already.
    """
    quantizers = modules_of(network, ActivationRLQ)
    with watch_inputs(quantizers, lambda name, inputs: quantizers[name].start(inputs[0])):
        network(images)
