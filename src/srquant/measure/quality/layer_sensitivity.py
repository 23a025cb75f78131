"""What each layer alone costs: its quantized form in the float network, all other layers float."""

import copy
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from srquant.grids.uniform import FLOAT_BITS
from srquant.measure.cost.layer_summaries import layer_summaries
from srquant.models.network import Network


@torch.no_grad()
def layer_sensitivity(network: Network, quantized: Network, pictures: Sequence[Tensor]) -> dict[str, float]:
    """Mean squared error of the picture that each quantized layer alone makes.

    Args:
        network: float, left unchanged.
        quantized: frozen form of the same network.
        pictures: ``1 x 3 x H x W`` in [0, 1].

    Returns:
        In [0, 1] squared, by name, for the layers that have the same name in both networks: in a network with folded
        branches some have none.
    """
    expected = [network(picture) for picture in pictures]
    mixed = copy.deepcopy(network).eval()
    return {name: error_with(mixed, name, layer, pictures, expected) for name, layer in _common(network, quantized)}


def _common(network: Network, quantized: Network) -> Iterator[tuple[str, nn.Module]]:
    """Quantized layers whose name the float network knows."""
    known = {name for name, _ in network.module.named_modules()}
    for layer in layer_summaries(quantized):
        if layer.name in known and FLOAT_BITS not in (layer.weight_bits, layer.activation_bits):
            yield layer.name, quantized.module.get_submodule(layer.name)


@torch.no_grad()
def error_with(
    mixed: Network, name: str, layer: nn.Module, pictures: Sequence[Tensor], expected: Sequence[Tensor]
) -> float:
    """Mean squared error of the picture with another module in one place.

    Args:
        mixed: as it is again afterwards.
        name: of the place.
        layer: the module that stands there meanwhile.
        pictures: ``1 x 3 x H x W`` in [0, 1].
        expected: what the float network makes of each.
    """
    before = mixed.module.get_submodule(name)
    mixed.module.set_submodule(name, layer)
    found = [float(mse_loss(mixed(picture), wanted)) for picture, wanted in zip(pictures, expected, strict=True)]
    mixed.module.set_submodule(name, before)
    return sum(found) / len(found)
