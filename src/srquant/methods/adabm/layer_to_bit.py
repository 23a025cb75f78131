"""L2B, layer-to-bit mapping: the sensitivity of a layer decides what it adds to its bits (AdaBM section 3.4)."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from srquant.grids.straight_through import straight_through
from srquant.models.hooks import watch_inputs
from srquant.models.network import Network


class LayerToBit(nn.Module):
    """L2B of one layer after calibration: a learnable factor, rounded to ``b_L`` (AdaBM section 3.6).

    Attributes:
        factor: 0-d, starts at 0.
    """

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.zeros(()))

    def forward(self) -> Tensor:
        """``b_L``: -1, 0 or 1, 0-d; the gradient is that of tanh, as in the released code."""
        return straight_through(self.factor.clamp(-1, 1).round(), self.factor.tanh())


@contextmanager
def layer_sensitivities(network: Network, layers: Iterable[str]) -> Iterator[dict[str, list[float]]]:
    """Sensitivities ``s_k``: standard deviation of each layer's input, mean over the samples of a batch.

    Args:
        network: float.
        layers: names of the layers.

    Yields:
        By layer, one value for every batch that runs through the network inside the context.
    """
    found: dict[str, list[float]] = {name: [] for name in layers}

    def measure(name: str, inputs: tuple[Tensor, ...]) -> None:
        found[name].append(float(inputs[0].flatten(1).std(1).mean()))

    with watch_inputs({name: network.module.get_submodule(name) for name in found}, measure):
        yield found


def first_layer_bits(sensitivities: Tensor, share: float) -> Tensor:
    """First ``b_L`` of each layer (AdaBM Eq. 4); the thresholds are quantiles of the sensitivities.

    Args:
        sensitivities: ``s_k``, ``K`` values.
        share: 0..0.5, of the layers that get -1, and of those that get 1.

    Returns:
        ``K`` values: -1 below the ``share`` quantile, 1 above the ``1 - share`` quantile, else 0.
    """
    lower, upper = sensitivities.quantile(torch.tensor([share, 1 - share], dtype=sensitivities.dtype))
    b_l: Tensor = (sensitivities > upper).float() - (sensitivities < lower).float()
    return b_l
