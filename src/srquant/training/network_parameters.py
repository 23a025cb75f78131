"""Which parameters of a quantized network are its own and which belong to its grids."""

from torch import nn

from srquant.models.network import Network
from srquant.quantizers.base import ActivationQuantizer
from srquant.quantizers.by_picture import ConditionalQuantizer
from srquant.quantizers.layers import quant_layers


def network_parameters(network: Network) -> list[nn.Parameter]:
    """Weights, biases and the like: all that is no quantizer's."""
    weights = [layer.weight_quantizer for layer in quant_layers(network).values()]
    grids = [module for module in network.modules() if isinstance(module, ActivationQuantizer | ConditionalQuantizer)]
    theirs = {id(parameter) for quantizer in (*weights, *grids) for parameter in quantizer.parameters()}
    return [parameter for parameter in network.parameters() if id(parameter) not in theirs]
