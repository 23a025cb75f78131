"""What each layer of a float or frozen network costs."""

import torch

from srquant.deploy.summary import layer_summaries
from srquant.evaluate.costs import LayerCost, count_macs, feature_average_bits, weighted_layers
from srquant.models.network import Network

SMALL = 24
"""Side of a picture on which every network runs and little is computed."""


def layer_costs(network: Network, height: int, width: int) -> list[LayerCost]:
    """Multiply-accumulates, weights and bits of each convolution and linear layer.

    Args:
        network: float or frozen.
        height: rows of the low-resolution picture.
        width: its columns.
    """
    bits = {layer.name: layer for layer in layer_summaries(network)}
    macs = count_macs(network, [name for name in weighted_layers(network) if name in bits], height, width)
    return [
        LayerCost(name, count, _weights(network, name), bits[name].weight_bits, bits[name].activation_bits)
        for name, count in macs.items()
    ]


def fab(network: Network) -> float | None:
    """Feature average bit-width; None for a float network."""
    return feature_average_bits(layer_costs(network, SMALL, SMALL))


def _weights(network: Network, name: str) -> int:
    return torch.as_tensor(network.module.get_submodule(name).weight).numel()
