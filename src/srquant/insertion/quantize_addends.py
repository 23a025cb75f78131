"""Residual blocks whose sum is of grid points: what goes past a block is quantized like what goes in (PAMS, DDTB)."""

from srquant.errors import PolicyError
from srquant.insertion.residual_graph import trace_flow
from srquant.models.blocks.layers import Add
from srquant.models.network import Network
from srquant.quantizers.base import ActivationQuantizer
from srquant.quantizers.layers import QuantAdd, QuantAddends, quant_layers


def quantize_addends(quantized: Network, network: Network) -> list[str]:
    """Put the addends of residual blocks on grids, in place; with a layer's input that makes three grids for EDSR's.

    These are the sums inside ``facts.features`` whose first addend a quantized layer reads as well. The two share a
    quantizer; the second addend has one of its own, as many bits wide and with the same bounds to start with.

    Args:
        quantized: with quantized layers.
        network: the float network that it was made from.

    Returns:
        Names of the sums.

    Raises:
        PolicyError: the sums themselves are on grids.
    """
    layers, sums = quant_layers(quantized), []
    for name, layer in trace_flow(network).beside.items():
        if layer not in layers or not name.startswith(tuple(f"{block}." for block in network.facts.features)):
            continue
        add, left = quantized.module.get_submodule(name), layers[layer].input_quantizer
        if isinstance(add, QuantAdd):
            raise PolicyError("this method puts addends on grids: use a float skip stream (skip_bits none)")
        assert isinstance(add, Add)
        assert isinstance(left, ActivationQuantizer)  # fresh from insertion, where all have bounds
        right = ActivationQuantizer(left.lower, left.upper, left.bits, left.narrow)
        quantized.module.set_submodule(name, QuantAddends(add, left, right))
        sums.append(name)
    return sums
