"""Weights that round as GPTQ has rounded them, but are as near to the float weights as that allows.

GPTQ leaves each weight on its grid point, the middle of all values that are rounded to it, from where learning has to
take it half a step before anything changes. The float weight, moved only as far as needed to be rounded to the same
point, is often close to the next point already: at 2 bits learning then gains a decibel more in the same time.
"""

import torch
from torch import Tensor

from srquant.models.network import Network
from srquant.quantizers.base import WeightQuantizer
from srquant.quantizers.layers import channel_steps, quant_layers

MARGIN = 0.05
"""Distance kept from the values that are rounded to the next point, in half steps."""


@torch.no_grad()
def move_near_float(student: Network, network: Network) -> None:
    """Move the weights of all quantized layers, in place; what they are rounded to stays.

    Args:
        student: quantized, with weights on grid points.
        network: the float network.
    """
    for name, layer in quant_layers(student).items():
        steps = channel_steps(layer.weight, layer.input_quantizer)
        weight = network.module.get_submodule(name).get_parameter("weight")
        if steps is None:
            layer.weight.copy_(nearest_in_cell(weight, layer.weight, layer.weight_quantizer))
        else:
            layer.weight.copy_(nearest_in_cell(weight * steps, layer.weight * steps, layer.weight_quantizer) / steps)


def nearest_in_cell(weight: Tensor, rounded: Tensor, quantizer: WeightQuantizer) -> Tensor:
    """The values nearest to ``weight`` that are rounded to the same points as ``rounded``, within the bounds.

    Args:
        weight: any values.
        rounded: same shape.
        quantizer: whose grid it is.
    """
    points, (lower, upper) = quantizer(rounded), quantizer.grid()
    half = (1 - MARGIN) / 2 * (upper - lower) / (quantizer.levels - 1)
    inside = torch.minimum(torch.maximum(weight, points - half), points + half)
    return torch.minimum(torch.maximum(inside, lower), upper)
