"""Replace the activation quantizers of a network: by those a method trains, and after training by plain ones."""

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
"""Names of the attributes that hold activation quantizers, by type of layer."""


def exchange_quantizers(network: Network, make: Callable[[InputQuantizer], InputQuantizer]) -> None:
    """Replace every activation quantizer, in place; layers that shared one share its replacement.

    Args:
        network: quantized.
        make: returns the replacement of a quantizer; called once for each.
    """
    made: dict[InputQuantizer, InputQuantizer] = {}
    for module in list(network.module.modules()):
        for slot in SLOTS.get(type(module), ()):
            old = getattr(module, slot)
            if old not in made:
                made[old] = make(old)
            setattr(module, slot, made[old])
