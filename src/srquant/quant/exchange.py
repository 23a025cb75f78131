"""Exchange the quantizers of a network for others, as methods do before and after training."""

from collections.abc import Callable

from srquant.models.network import Network
from srquant.quant.layers import QuantAdd, QuantAddends, QuantConv2d, QuantLinear, QuantMatmul, activation_quantizers
from srquant.quant.quantizers import ActivationQuantizer

SLOTS = {
    QuantConv2d: ("input_quantizer",),
    QuantLinear: ("input_quantizer",),
    QuantAdd: ("quantizer",),
    QuantAddends: ("left", "right"),
    QuantMatmul: ("left", "right"),
}
"""Where each kind of layer keeps its activation quantizers."""


def exchange_quantizers(network: Network, make: Callable[[str, ActivationQuantizer], ActivationQuantizer]) -> None:
    """Replace every activation quantizer with bounds, in place; what shared one shares the new one.

    Args:
        network: quantized.
        make: from a name, as ``activation_quantizers`` gives it, and the present quantizer to the new one.
    """
    made = {id(old): (old, make(name, old)) for name, old in activation_quantizers(network).items()}
    for module in list(network.module.modules()):
        for slot in SLOTS.get(type(module), ()):
            old = getattr(module, slot)
            if id(old) in made:
                setattr(module, slot, made[id(old)][1])
