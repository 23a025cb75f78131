"""Exchange the quantizers of a network for others, as methods do before and after training."""

from collections.abc import Callable

from srquant.models.network import Network
from srquant.quantizers.layers import (
    InputQuantizer,
    QuantAdd,
    QuantAddends,
    QuantConv2d,
    QuantLinear,
    QuantMatmul,
)

SLOTS = {
    QuantConv2d: ("input_quantizer",),
    QuantLinear: ("input_quantizer",),
    QuantAdd: ("quantizer",),
    QuantAddends: ("left", "right"),
    QuantMatmul: ("left", "right"),
}
"""Where each kind of layer keeps its activation quantizers."""


def exchange_quantizers(network: Network, make: Callable[[InputQuantizer], InputQuantizer]) -> None:
    """Replace every activation quantizer, in place; what shared one shares the new one.

    Args:
        network: quantized.
        make: from a present quantizer, each once, to the new one.
    """
    made: dict[InputQuantizer, InputQuantizer] = {}
    for module in list(network.module.modules()):
        for slot in SLOTS.get(type(module), ()):
            old = getattr(module, slot)
            if old not in made:
                made[old] = make(old)
            setattr(module, slot, made[old])
