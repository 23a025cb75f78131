"""Quantized parts of a ResNet-18: layers with learned rounding, ReLUs with learned steps (LSQ, Esser et al. 2020)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srquant.classify.rounding import AdaptiveRounding
from srquant.classify.search import search_grid
from srquant.grids.uniform import fake_quantize


class RoundedLayer(nn.Module):
    """A convolution or linear layer with one weight grid per output channel; float while ``quantize`` is False."""

    def __init__(self, layer: nn.Conv2d | nn.Linear, bits: int) -> None:
        super().__init__()
        self.layer = layer
        weight = layer.weight.detach()
        self.rounding = AdaptiveRounding(weight, *search_grid(weight.flatten(1), 1 << bits), 1 << bits)
        self.bits = bits
        self.quantize = False

    def forward(self, x: Tensor) -> Tensor:
        """``N x C x H x W`` or ``N x C`` to the layer's output."""
        return apply_layer(self.layer, x, self.rounding() if self.quantize else self.layer.weight)


class StepQuantizer(nn.Module):
    """The grid ``0, step, .. (2**bits - 1) * step`` for values >= 0; the step is learnable.

    LSQ's factor on the gradient of the step is left out, because Adam divides it out again.
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits
        self.step = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """Values to grid points, any shape."""
        last = (1 << self.bits) - 1
        return fake_quantize(x, torch.zeros_like(self.step), last * self.step, last + 1)

    @torch.no_grad()
    def initialise(self, values: Tensor) -> None:
        """Search the step for values >= 0, any shape."""
        scale, _ = search_grid(values.reshape(1, -1), 1 << self.bits)
        self.step.copy_(scale.squeeze())


class QuantReLU(nn.Module):
    """A ReLU and the quantizers of its output, one for each group of bits (PTMQ; other methods have one group).

    Attributes:
        quantize: whether the output is quantized.
        group: number of the quantizer that is used; if there is only one, it is used for all groups.
        quantize_probability: probability that an element is quantized (QDrop's ``drop_prob``); 1 except while QDrop
            learns.
    """

    def __init__(self, bits: tuple[int, ...]) -> None:
        super().__init__()
        self.quantizers = nn.ModuleList(StepQuantizer(b) for b in bits)
        self.group = 0
        self.quantize = False
        self.quantize_probability = 1.0

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same."""
        x = F.relu(x)
        if not self.quantize:
            return x
        points: Tensor = self.quantizers[min(self.group, len(self.quantizers) - 1)](x)
        return mix(points, x, self.quantize_probability)


def mix(quantized: Tensor, float_values: Tensor, probability: float) -> Tensor:
    """Each element from the first tensor with this probability, else from the second (QDrop)."""
    if probability >= 1:
        return quantized
    return torch.where(torch.rand_like(quantized) < probability, quantized, float_values)


def apply_layer(layer: nn.Conv2d | nn.Linear, x: Tensor, weight: Tensor) -> Tensor:
    """The output of the layer with ``weight`` in place of its own weight."""
    if isinstance(layer, nn.Linear):
        return F.linear(x, weight, layer.bias)
    return F.conv2d(x, weight, layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups)
