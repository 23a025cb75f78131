"""The bits that quantizers choose for a picture, in networks where each layer chooses for itself."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from srquant.deploy.frozen.dynamic import DynamicLayer
from srquant.models.hooks import watch_inputs
from srquant.models.network import Network
from srquant.quantizers.by_picture import ConditionalQuantizer


def bit_choosing_quantizers(network: Network) -> dict[str, ConditionalQuantizer]:
    """The quantizers that choose among several bits, by the name of their layer."""
    found: dict[str, ConditionalQuantizer] = {}
    for name, layer in network.module.named_modules():
        if isinstance(layer, DynamicLayer) and len(layer.choices) > 1:
            assert isinstance(layer.points, ConditionalQuantizer)  # only these choose bits
            found[name] = layer.points
    return found


def chooses_bits(network: Network) -> bool:
    """Whether some layer chooses its bits by the picture."""
    return bool(bit_choosing_quantizers(network))


def chosen_bits(network: Network, picture: Tensor) -> dict[str, float]:
    """Bits that each layer takes for a picture, for the layers that choose their bits by the picture.

    Args:
        network: frozen; it runs once, or not at all where no layer chooses its bits.
        picture: ``1 x 3 x H x W`` in [0, 1].
    """
    if not chooses_bits(network):
        return {}
    with torch.inference_mode(), record_chosen_bits(network) as bits:
        network(picture)
    return {name: float(chosen.mean()) for name, chosen in bits.items()}


@contextmanager
def record_chosen_bits(network: Network) -> Iterator[dict[str, Tensor]]:
    """Record the bits that each layer chooses while the network runs on pictures: ``N`` floats by layer name."""
    bits: dict[str, Tensor] = {}
    quantizers = bit_choosing_quantizers(network)

    def see(name: str, inputs: tuple[Tensor, ...]) -> None:
        bits[name] = quantizers[name].chosen_bits(*inputs)

    with watch_inputs(quantizers, see):
        yield bits
