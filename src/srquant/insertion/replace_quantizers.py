"""Exchange the quantizers of a network for others, as methods do before and after training."""

from collections.abc import Callable

from srquant.models.network import Network
from srquant.quantizers.base import InputQuantizer
from srquant.quantizers.layers import quant_modules


def exchange_quantizers(network: Network, make: Callable[[InputQuantizer], InputQuantizer]) -> None:
    """Replace every activation quantizer, in place; what shared one shares the new one.

    Args:
        network: quantized.
        make: from a present quantizer, each once, to the new one.
    """
    made: dict[InputQuantizer, InputQuantizer] = {}
    for module in quant_modules(network).values():
        for slot in module.slots:
            old = getattr(module, slot)
            if old not in made:
                made[old] = make(old)
            setattr(module, slot, made[old])
