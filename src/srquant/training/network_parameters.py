"""The parameters of a quantized network that don't belong to its quantizers."""

from torch import nn

from srquant.models.network import Network, modules_of
from srquant.quantizers.base import InputQuantizer
from srquant.quantizers.layers import quant_layers


def network_parameters(network: Network) -> list[nn.Parameter]:
    """Weights, biases and all other parameters except those of quantizers."""
    weights = [layer.weight_quantizer for layer in quant_layers(network).values()]
    grids = modules_of(network, InputQuantizer).values()
    of_quantizers = {id(parameter) for quantizer in (*weights, *grids) for parameter in quantizer.parameters()}
    return [parameter for parameter in network.parameters() if id(parameter) not in of_quantizers]
