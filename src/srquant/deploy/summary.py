"""What became of each layer: bits, and how many of its weight codes are used."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import nn

from srquant.deploy.frozen import FrozenConv2d, FrozenLinear
from srquant.models.network import Network

FLOAT_BITS = 32


@dataclass(frozen=True)
class LayerSummary:
    """One convolution or linear layer.

    Attributes:
        name: in the network.
        kind: ``conv`` or ``linear``.
        weight_bits: 2..8, or 32 for float.
        activation_bits: 2..8, or 32 for float.
        levels_used: different weights that occur; None for a float layer.
    """

    name: str
    kind: Literal["conv", "linear"]
    weight_bits: int
    activation_bits: int
    levels_used: int | None


def layer_summaries(network: Network) -> list[LayerSummary]:
    """All convolutions and linear layers of a float or frozen network, in module order."""
    return [
        summarise(name, module)
        for name, module in network.module.named_modules()
        if isinstance(module, FrozenConv2d | FrozenLinear | nn.Conv2d | nn.Linear)
    ]


def summarise(name: str, module: nn.Module) -> LayerSummary:
    """One layer's line."""
    kind: Literal["conv", "linear"] = "conv" if isinstance(module, FrozenConv2d | nn.Conv2d) else "linear"
    if not isinstance(module, FrozenConv2d | FrozenLinear):
        return LayerSummary(name, kind, FLOAT_BITS, FLOAT_BITS, None)
    activation_bits = (module.grid.levels - 1).bit_length()
    return LayerSummary(name, kind, module.weight_bits, activation_bits, len(np.unique(module.weight.numpy())))
