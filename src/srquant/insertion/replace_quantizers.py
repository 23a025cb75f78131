"""Replace the activation quantizers of a network: before training by those of a method, afterwards by plain ones."""

from collections.abc import Callable

from srquant.models.network import Network
from srquant.quantizers.base import InputQuantizer
from srquant.quantizers.layers import quant_modules


def replace_activation_quantizers(network: Network, make: Callable[[InputQuantizer], InputQuantizer]) -> None:
    """Replace every activation quantizer, in place; layers that shared a quantizer share its replacement.

    Args:
        network: quantized.
        make: returns the replacement of a quantizer; called once per quantizer.
    """
    made: dict[InputQuantizer, InputQuantizer] = {}
    for module in quant_modules(network).values():
        for slot in module.slots:
            old = getattr(module, slot)
            if old not in made:
                made[old] = make(old)
            setattr(module, slot, made[old])
