"""AdaBM's learned bits become three static networks, one for pictures of low, middle and high gradient density."""

import copy

import torch

from srquant.insertion.branched_network import PICTURE_BITS, BranchedNetwork
from srquant.insertion.settle_on_lattice import settle
from srquant.methods.adabm.adaptive_bits import AdaptiveNetwork, AdaptiveQuantizer
from srquant.models.network import Network
from srquant.quantizers.base import ActivationQuantizer
from srquant.quantizers.layers import bounded_quantizer, quant_layers


@torch.no_grad()
def settle_branches(network: AdaptiveNetwork) -> BranchedNetwork:
    """The settled branches of a network whose bits were learned; float weights and weight grids are shared.

    Bounds are settled on the grid with the most levels. The other branches move the upper bound to their own next
    odd multiple, so that each of them computes on the lattice.
    """
    network.pictures.bits = network.pictures.bits.detach()
    high = branch_of(network, PICTURE_BITS[-1])
    delta = settle(high)
    low, middle = (other_branch(network, high, bits, delta) for bits in PICTURE_BITS[:-1])
    return BranchedNetwork((low, middle, high), torch.stack([network.thresholds.lower, network.thresholds.upper]))


def branch_of(network: Network, picture_bits: int) -> Network:
    """A copy of a network that has the static quantizers of pictures that add ``picture_bits``."""
    branch = Network(copy.deepcopy(network.module), network.facts)
    for layer in quant_layers(branch).values():
        if isinstance(layer.input_quantizer, AdaptiveQuantizer):
            layer.input_quantizer = layer.input_quantizer.of_pictures(picture_bits)
    return branch


def other_branch(network: Network, settled: Network, picture_bits: int, delta: float) -> Network:
    """The branch of ``picture_bits`` beside one that is settled; it shares that one's parameters."""
    shared = {id(parameter): parameter for parameter in settled.parameters()}
    branch = Network(copy.deepcopy(settled.module, shared), settled.facts)
    layers = quant_layers(branch)
    for name, learned in quant_layers(network).items():
        if isinstance(learned.input_quantizer, AdaptiveQuantizer):
            bounds, bits = bounded_quantizer(layers[name]), learned.input_quantizer.of_pictures(picture_bits).bits
            quantizer = ActivationQuantizer(bounds.lower, bounds.upper, bits)
            quantizer.settle(delta)
            layers[name].input_quantizer = quantizer
    return branch
