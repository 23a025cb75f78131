"""Finetuning in a straightforward implementation: the baseline of ``finetune_speed.py``.

Every step runs the teacher again and quantizes every weight again. Fake quantization is a sequence of tensor
operations, each with its own gradient. It computes the same as ``srquant.training``.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srquant.distillation.features import features_of
from srquant.models.network import Network
from srquant.quantizers.base import ActivationQuantizer, WeightQuantizer
from srquant.quantizers.dan import DANQuantizer
from srquant.quantizers.layers import QuantConv2d, quant_layers


def round_through(x: Tensor) -> Tensor:
    """Round; the gradient is that of the identity (straight-through estimator)."""
    return x + (x.round() - x).detach()


def fake_quantize(x: Tensor, lower: Tensor, upper: Tensor, levels: int) -> Tensor:
    """Clip, scale, round, scale back."""
    clipped = torch.minimum(torch.maximum(x, lower), upper)
    step = (upper - lower) / (levels - 1)
    return round_through((clipped - lower) / step) * step + lower


class PlainActivation(nn.Module):
    """The activation quantizer of a layer, with the same bounds."""

    def __init__(self, quantizer: ActivationQuantizer) -> None:
        super().__init__()
        self.lower, self.upper, self.levels = quantizer.lower, quantizer.upper, quantizer.levels

    def forward(self, x: Tensor) -> Tensor:
        """``N x C x H x W`` to the same."""
        return fake_quantize(x, self.lower, self.upper, self.levels)


class PlainDynamicActivation(PlainActivation):
    """The same in the range of each channel (DAN)."""

    def forward(self, x: Tensor) -> Tensor:
        """``N x C x H x W`` to the same."""
        smallest, largest = x.detach().amin((2, 3), keepdim=True), x.detach().amax((2, 3), keepdim=True)
        width = (largest - smallest).clamp(min=1e-8)
        points = super().forward(2 * (x - smallest) / width - 1)
        return torch.where(largest > smallest, (points + 1) / 2 * width + smallest, x)


class PlainWeight(nn.Module):
    """The weight quantizer of a layer, with the same bounds."""

    def __init__(self, quantizer: WeightQuantizer) -> None:
        super().__init__()
        self.lower, self.upper, self.levels = quantizer.lower, quantizer.upper, quantizer.levels

    def forward(self, weight: Tensor) -> Tensor:
        """Shape of the weight."""
        lower = -self.upper if self.lower is None else self.lower
        return fake_quantize(weight, lower, self.upper, self.levels)


class PlainConv2d(nn.Module):
    """A quantized convolution that shares weight and bounds with ours."""

    def __init__(self, layer: QuantConv2d) -> None:
        super().__init__()
        self.layer, self.padding = layer.layer, layer.padding
        self.dynamic = isinstance(layer.input_quantizer, DANQuantizer)
        self.input_quantizer = (PlainDynamicActivation if self.dynamic else PlainActivation)(layer.input_quantizer)
        self.weight_quantizer = PlainWeight(layer.weight_quantizer)

    def forward(self, x: Tensor) -> Tensor:
        """``N x C_in x H x W`` to ``N x C_out x H' x W'``."""
        vertical, horizontal = self.padding
        sides = (horizontal, horizontal, vertical, vertical)
        points = F.pad(self.input_quantizer(x), sides) if self.dynamic else self.input_quantizer(F.pad(x, sides))
        layer = self.layer
        weight = self.weight_quantizer(layer.weight)
        return F.conv2d(points, weight, layer.bias, layer.stride, 0, layer.dilation, layer.groups)


def plain(student: Network) -> Network:
    """A network of plain layers with the weights and bounds of a quantized one."""
    made = copy.deepcopy(student)
    for name, layer in quant_layers(made).items():
        if not isinstance(layer, QuantConv2d):
            raise TypeError(f"{name} is no convolution")
        made.module.set_submodule(name, PlainConv2d(layer))
    return made


def activation_bounds(student: Network) -> list[nn.Parameter]:
    """Bounds of all activations."""
    return _bounds(student, lambda layer: layer.input_quantizer)


def weight_bounds(student: Network) -> list[nn.Parameter]:
    """Bounds of all weights."""
    return _bounds(student, lambda layer: layer.weight_quantizer)


def step(
    student: Network, teacher: Network, images: Tensor, optimizer: torch.optim.Optimizer, feature_weight: float
) -> float:
    """Teacher, student, loss, backward, one step of the optimizer; returns the loss."""
    with torch.no_grad(), features_of(teacher) as hooks:
        wanted, teacher_features = teacher(images), hooks.take()
    with features_of(student) as hooks:
        output, features = student(images), hooks.take()
    distances = [
        (_normalised(s) - _normalised(t)).square().sum((1, 2, 3)).mean()
        for s, t in zip(features, teacher_features, strict=True)
    ]
    loss = (output - wanted).abs().mean() + feature_weight * torch.stack(distances).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def _bounds(student: Network, part: Callable[[PlainConv2d], nn.Module]) -> list[nn.Parameter]:
    layers = [module for module in student.module.modules() if isinstance(module, PlainConv2d)]
    return [parameter for layer in layers for parameter in part(layer).parameters()]


def _normalised(feature: Tensor) -> Tensor:
    return feature / feature.square().sum((1, 2, 3), keepdim=True).sqrt()
