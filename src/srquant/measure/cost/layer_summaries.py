"""What became of each layer: bits, and how many of its weight codes are used."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import nn

from srquant.deploy.frozen.dynamic import DynamicLayer
from srquant.deploy.frozen.grid import FrozenGrid
from srquant.deploy.frozen.layers import FrozenConv2d, FrozenLinear
from srquant.deploy.frozen.matmul import FrozenMatmul
from srquant.deploy.frozen.piecewise import PiecewisePoints
from srquant.models.blocks.layers import Matmul
from srquant.models.network import Network
from srquant.quantizers.by_picture import ConditionalQuantizer

FLOAT_BITS = 32
Ranges = Literal["static", "dynamic"]
Kind = Literal["conv", "linear", "matmul"]


@dataclass(frozen=True)
class LayerSummary:
    """One convolution, linear layer or matrix product of two activations.

    Attributes:
        name: in the network.
        kind: ``conv``, ``linear`` or ``matmul``.
        weight_bits: 2..8, or 32 for float; of a matrix product's second operand.
        activation_bits: 2..8, or 32 for float; of a matrix product's first operand.
        levels_used: different weights that occur; None for a float layer and a matrix product.
        ranges: whether the input's range is known before a picture is seen; None for a float layer.
        piecewise_codes: activation codes of a piecewise linear grid, which may be more than its bits have; None for
            all others.
        choices: bits among which the layer's quantizer chooses for each picture, ``activation_bits`` being the most;
            empty where it has no choice of its own.
    """

    name: str
    kind: Kind
    weight_bits: int
    activation_bits: int
    levels_used: int | None
    ranges: Ranges | None
    piecewise_codes: int | None = None
    choices: tuple[int, ...] = ()


def layer_summaries(network: Network) -> list[LayerSummary]:
    """All convolutions, linear layers and matrix products of a float or frozen network, in module order."""
    return [
        summarise(name, module)
        for name, module in network.module.named_modules()
        if isinstance(
            module, FrozenConv2d | FrozenLinear | DynamicLayer | FrozenMatmul | nn.Conv2d | nn.Linear | Matmul
        )
    ]


def summarise(name: str, module: nn.Module) -> LayerSummary:
    """One layer's line."""
    if isinstance(module, Matmul):
        return LayerSummary(name, "matmul", FLOAT_BITS, FLOAT_BITS, None, None)
    if isinstance(module, FrozenMatmul):
        left, right = (_bits(operand.grid) for operand in (module.left, module.right))
        return LayerSummary(name, "matmul", right, left, None, "static")
    kind: Kind = "linear" if torch.as_tensor(module.weight).dim() == 2 else "conv"
    if not isinstance(module, FrozenConv2d | FrozenLinear | DynamicLayer):
        return LayerSummary(name, kind, FLOAT_BITS, FLOAT_BITS, None, None)
    ranges: Ranges = "dynamic" if isinstance(module, DynamicLayer) else "static"
    levels_used = len(np.unique(module.weight.numpy()))
    if isinstance(module, DynamicLayer):
        points = module.points
        choices = points.candidates if isinstance(points, ConditionalQuantizer) else ()
        return LayerSummary(name, kind, module.weight_bits, points.bits, levels_used, ranges, choices=choices)
    if isinstance(module.before, PiecewisePoints):
        codes = sum(module.before.levels)
        return LayerSummary(name, kind, module.weight_bits, module.before.bits, levels_used, ranges, codes)
    return LayerSummary(name, kind, module.weight_bits, _bits(module.grid), levels_used, ranges)


def _bits(grid: FrozenGrid) -> int:
    return (grid.levels - 1).bit_length()
