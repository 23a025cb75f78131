"""Layers with gradients with respect to their bits, and how GBA inserts them into a folded ResNet-18."""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from srquant.classify.insert import CLASSIFIER, FIRST_AND_LAST_BITS, STEM, replace
from srquant.classify.layers import apply_layer
from srquant.classify.resnet import ResNet18
from srquant.distillation.recipes import LearnedGroup
from srquant.grids.range_rules import Bounds, RunningBounds, minmax, symmetric_mse
from srquant.insertion.policy import Granularity, LayerBits
from srquant.models.hooks import watch_inputs
from srquant.quantizers.base import ActivationQuantizer
from srquant.quantizers.dan import DANQuantizer


class GradientLayer(nn.Module):
    """A layer whose input and weight are quantized between learnable bounds; the weight itself is not trained.

    Args:
        layer: float.
        inputs: quantizer of its input.
        weights: quantizer of its weight, bounds 0-d or ``C_out x 1 ...``.
    """

    def __init__(self, layer: nn.Conv2d | nn.Linear, inputs: ActivationQuantizer, weights: ActivationQuantizer) -> None:
        super().__init__()
        self.layer = layer
        self.inputs = inputs
        self.weights = weights

    def forward(self, x: Tensor) -> Tensor:
        """``N x C x H x W`` or ``N x C`` to the layer's output."""
        return apply_layer(self.layer, self.inputs(x), self.weights(self.layer.weight))

    def quantizer(self, group: LearnedGroup) -> ActivationQuantizer:
        """The quantizer of the input or that of the weight."""
        return self.inputs if group == "activations" else self.weights


def insert_gradient_layers(
    network: ResNet18, bits: LayerBits, bounds: dict[str, Bounds], granularity: Granularity, dynamic: bool
) -> ResNet18:
    """A copy in which all layers are quantized, the first and the last with 8 bits.

    Args:
        network: without batch norms, as from ``folded``.
        bits: of the layers between the first and the last.
        bounds: 0-d bounds of every layer's input by name.
        granularity: of weights; their bounds have the smallest squared error.
        dynamic: whether inputs of convolutions have ranges per image and channel.
    """
    student = copy.deepcopy(network)
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            own = LayerBits(FIRST_AND_LAST_BITS, FIRST_AND_LAST_BITS) if name in (STEM, CLASSIFIER) else bits
            inputs = ActivationQuantizer(*bounds[name], own.activation)
            if dynamic and isinstance(layer, nn.Conv2d):
                inputs = DANQuantizer(own.activation, channel_axis=1)
            weights = weight_quantizer(layer.weight, own.weight, granularity)
            replace(student, name, GradientLayer(copy.deepcopy(layer), inputs, weights))
    return student.eval().requires_grad_(False).to(network.fc.weight.device)


def weight_quantizer(weight: Tensor, bits: int, granularity: Granularity) -> ActivationQuantizer:
    """A quantizer with symmetric bounds of smallest squared error; learning may move each bound by itself."""
    rows = weight.detach().flatten(1) if granularity == "channel" else weight.detach().reshape(1, -1)
    shape = (-1, *[1] * (weight.dim() - 1)) if granularity == "channel" else ()
    lower, upper = symmetric_mse(rows, 1 << bits)
    return ActivationQuantizer(lower.reshape(shape), upper.reshape(shape), bits)


@torch.no_grad()
def inputs_of_layers(network: ResNet18, batches: Iterable[Tensor], momentum: float) -> dict[str, Bounds]:
    """Bounds of the input of every convolution and linear layer by name: min-max with moving average, 0-d each."""
    layers = {n: layer for n, layer in network.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)}
    running = {name: RunningBounds(minmax, 2, momentum) for name in layers}
    with watch_inputs(layers, lambda name, inputs: running[name].update(inputs[0].reshape(1, -1))):
        for batch in batches:
            network(batch)
    bounds = {name: seen.bounds() for name, seen in running.items()}
    return {name: (lower.squeeze(), upper.squeeze()) for name, (lower, upper) in bounds.items()}
