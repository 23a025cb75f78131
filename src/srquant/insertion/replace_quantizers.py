"""Replace the activation quantizers of a network: by those a method trains, and after training by plain ones."""

from collections.abc import Callable

from srquant.models.network import Network
from srquant.quantizers.base import InputQuantizer
from srquant.quantizers.layers import quant_modules


def replace_activation_quantizers(network: Network, make: Callable[[InputQuantizer], InputQuantizer]) -> None:
    """Replace every activation quantizer, in place; layers that shared one share its replacement.

    Args:
        network: quantized.
        make: returns the replacement of a quantizer; called once for each.
    """
    made: dict[InputQuantizer, InputQuantizer] = {}
    for module in quant_modules(network).values():
        for slot in module.slots:
            old = getattr(module, slot)
            if old not in made:
                made[old] = make(old)
            setattr(module, slot, made[old])
