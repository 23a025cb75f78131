"""AdaBM's learned bits become three static networks, for pictures of low, middle and high gradient density."""

import copy

import torch

from srquant.insertion.branched_network import PICTURE_BITS, BranchedNetwork
from srquant.insertion.settle_on_lattice import settle_on_one
from srquant.methods.adabm.adaptive_bits import AdaptiveNetwork, adaptive_quantizers
from srquant.models.network import Network
from srquant.quantizers.base import ActivationQuantizer
from srquant.quantizers.layers import bounded_quantizer, quant_layers


@torch.no_grad()
def settle_branches(network: AdaptiveNetwork) -> BranchedNetwork:
    """The settled branches of a network with learned bits; they share float weights and weight grids.

    Bounds are settled on the grid with the most levels. Each other branch then moves its upper bounds so that its steps
    are odd multiples of the lattice too.
    """
    network.pictures.bits = network.pictures.bits.detach()
    high = branch_of(network, PICTURE_BITS[-1])
    delta = settle_on_one(high)
    low, middle = (other_branch(network, high, b_i, delta) for b_i in PICTURE_BITS[:-1])
    return BranchedNetwork((low, middle, high), torch.stack([network.image_to_bit.lower, network.image_to_bit.upper]))


def branch_of(network: Network, b_i: int) -> Network:
    """A copy of a network with the static quantizers for pictures with this ``b_I``."""
    branch = Network(copy.deepcopy(network.module), network.facts)
    layers = quant_layers(branch)
    for name, learned in adaptive_quantizers(branch).items():
        layers[name].input_quantizer = learned.of_pictures(b_i)
    for layer in layers.values():
        layer.weight_quantizer = layer.weight_quantizer.deployable(layer.weight)
    return branch


def other_branch(network: Network, settled: Network, b_i: int, delta: float) -> Network:
    """The branch for pictures with this ``b_I``, settled on multiples of ``delta``.

    It shares the parameters of the branch that is ``settled`` already.
    """
    shared = {id(parameter): parameter for parameter in settled.parameters()}
    branch = Network(copy.deepcopy(settled.module, shared), settled.facts)
    layers = quant_layers(branch)
    for name, learned in adaptive_quantizers(network).items():
        bounds = bounded_quantizer(layers[name])
        quantizer = ActivationQuantizer(bounds.lower, bounds.upper, learned.of_pictures(b_i).bits)
        quantizer.settle(delta)
        layers[name].input_quantizer = quantizer
    return branch
