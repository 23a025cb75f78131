"""What each layer of a float or frozen network costs; a branched network by the bits of its middle branch."""

from collections.abc import Callable
from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from srquant.insertion.branched_network import BranchedNetwork, representative
from srquant.measure.cost.chosen_bits import chooses_bits, chosen_bits
from srquant.measure.cost.formulas import (
    LayerCost,
    count_macs,
    feature_average_bits,
    matrix_products,
    weighted_layers,
)
from srquant.measure.cost.layer_summaries import layer_summaries
from srquant.models.blocks.layers import MatrixProduct
from srquant.models.network import Network

SMALL = 24
"""Side of a picture on which every network runs and little is computed."""


def layer_costs(network: Network, height: int, width: int) -> list[LayerCost]:
    """Multiply-accumulates, weights and bits of each convolution, linear layer and product of two activations.

    Args:
        network: float or frozen.
        height: rows of the low-resolution picture.
        width: its columns.
    """
    network = representative(network)
    bits = {layer.name: layer for layer in layer_summaries(network)}
    counted = {*weighted_layers(network), *matrix_products(network)}
    macs = count_macs(network, [name for name in bits if name in counted], height, width)
    return [
        LayerCost(name, count, _weights(network, name), bits[name].weight_bits, bits[name].activation_bits)
        for name, count in macs.items()
    ]


def fab(network: Network) -> float | None:
    """Feature average bit-width; None for a float network."""
    return feature_average_bits(layer_costs(network, SMALL, SMALL), network.facts.ends)


def picture_fab(network: Network) -> float | Callable[[NDArray[np.uint8]], float] | None:
    """``fab``; where it depends on the picture, a function from the picture, ``H x W x 3`` in 0..255, to its FAB."""
    if chooses_bits(network):
        return lambda image: fmean(chosen_bits(network, _pixels(image)).values())
    if not isinstance(network, BranchedNetwork):
        return fab(network)
    fabs = {bits: mean for bits, branch in network.branches.items() if (mean := fab(branch)) is not None}
    return lambda image: fabs[network.bits_for(_pixels(image))]


def _pixels(image: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None].float() / 255


def _weights(network: Network, name: str) -> int:
    module = network.module.get_submodule(name)
    return 0 if isinstance(module, MatrixProduct) else torch.as_tensor(module.weight).numel()
