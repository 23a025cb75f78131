"""Quantized parts of a ResNet-18: layers with learned rounding, ReLUs with learned steps (LSQ, Esser et al. 2020)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srquant.classify.rounding import AdaptiveRounding
from srquant.classify.search import search_grid
from srquant.grids.uniform import fake_quantize


class RoundedLayer(nn.Module):
    """A convolution or linear layer on a grid per output channel; float while ``quantize`` is False."""

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
    """The grid ``0, step, .. (2**bits - 1) * step`` for values from 0 on; the step is learnable.

    LSQ's factor on the gradient of the step is left out: Adam undoes it.
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
        """Search the step for values that are 0 or above, any shape."""
        scale, _ = search_grid(values.reshape(1, -1), 1 << self.bits)
        self.step.copy_(scale.squeeze())


class QuantReLU(nn.Module):
    """A ReLU and the quantizer of its output, one for each group of bits (PTMQ; other methods have one group).

    Attributes:
        quantize: False: a plain ReLU.
        group: which quantizer is used; where there is only one, it serves all groups.
        kept: chance of each element to be quantized (QDrop's ``drop_prob``); 1 except while QDrop learns.
    """

    def __init__(self, bits: tuple[int, ...]) -> None:
        super().__init__()
        self.quantizers = nn.ModuleList(StepQuantizer(b) for b in bits)
        self.group = 0
        self.quantize = False
        self.kept = 1.0

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same."""
        x = F.relu(x)
        if not self.quantize:
            return x
        points: Tensor = self.quantizers[min(self.group, len(self.quantizers) - 1)](x)
        return mix(points, x, self.kept)


def mix(quantized: Tensor, float_values: Tensor, kept: float) -> Tensor:
    """Each element from the first tensor with the chance ``kept``, else from the second (QDrop)."""
    if kept >= 1:
        return quantized
    return torch.where(torch.rand_like(quantized) < kept, quantized, float_values)


def apply_layer(layer: nn.Conv2d | nn.Linear, x: Tensor, weight: Tensor) -> Tensor:
    """The layer with another weight."""
    if isinstance(layer, nn.Linear):
        return F.linear(x, weight, layer.bias)
    return F.conv2d(x, weight, layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups)
