"""One record per layer of a float or frozen network: its kind, bits, and how many different weights occur."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from srquant.deploy.frozen.dynamic import DynamicLayer
from srquant.deploy.frozen.layers import FrozenLayer
from srquant.deploy.frozen.matmul import FrozenMatmul
from srquant.grids.uniform import FLOAT_BITS
from srquant.insertion.policy import LayerKind
from srquant.models.blocks.layers import Matmul
from srquant.models.network import Network

Ranges = Literal["static", "dynamic"]


@dataclass(frozen=True)
class LayerSummary:
    """One convolution, linear layer or matrix product of two activations.

    Attributes:
        name: in the network.
        kind: ``conv``, ``linear`` or ``matmul``.
        weight_bits: 2..8, or 32 for float; of a matrix product's second operand.
        activation_bits: 2..8, or 32 for float; of a matrix product's first operand.
        levels_used: different weights that occur; None for a float layer and a matrix product.
        ranges: ``static`` where the input's range is fixed before a picture is known; None for a float layer.
        piecewise_codes: activation codes of a piecewise linear grid, which may be more than its bits hold; None for
            all others.
        choices: bits among which the layer's quantizer chooses for each picture, ``activation_bits`` being the most;
            empty where the bits are fixed.
    """

    name: str
    kind: LayerKind
    weight_bits: int
    activation_bits: int
    levels_used: int | None
    ranges: Ranges | None
    piecewise_codes: int | None = None
    choices: tuple[int, ...] = ()


def layer_summaries(network: Network) -> list[LayerSummary]:
    """All convolutions, linear layers and matrix products of a float or frozen network, in module order."""
    found = ((name, _summary_of(module)) for name, module in network.module.named_modules())
    return [summary(name) for name, summary in found if summary is not None]


def _summary_of(module: nn.Module) -> Callable[[str], LayerSummary] | None:
    """The function from a module's name to its summary; None for a module that has no summary."""
    for kind, summary in SUMMARIES.items():
        if isinstance(module, kind):  # modules of a float and of a frozen network have no base in common
            return partial(summary, module)
    return None


def _float_layer(module: nn.Module, name: str) -> LayerSummary:
    return LayerSummary(name, _layer_kind(module), FLOAT_BITS, FLOAT_BITS, None, None)


def _float_product(module: nn.Module, name: str) -> LayerSummary:
    return LayerSummary(name, "matmul", FLOAT_BITS, FLOAT_BITS, None, None)


def _frozen_product(module: FrozenMatmul, name: str) -> LayerSummary:
    return LayerSummary(name, "matmul", module.right.grid.bits, module.left.grid.bits, None, "static")


def _frozen_layer(module: FrozenLayer | DynamicLayer, name: str) -> LayerSummary:
    kind, levels_used = _layer_kind(module), len(np.unique(module.weight.numpy()))
    ranges: Ranges = "static" if module.static else "dynamic"
    codes, choices = module.piecewise_codes, module.choices
    return LayerSummary(name, kind, module.weight_bits, module.input_bits, levels_used, ranges, codes, choices)


def _layer_kind(module: nn.Module) -> LayerKind:
    return "linear" if torch.as_tensor(module.weight).dim() == 2 else "conv"


SUMMARIES: Mapping[type[nn.Module], Callable[[Any, str], LayerSummary]] = {
    FrozenLayer: _frozen_layer,
    DynamicLayer: _frozen_layer,
    FrozenMatmul: _frozen_product,
    nn.Conv2d: _float_layer,
    nn.Linear: _float_layer,
    Matmul: _float_product,
}
