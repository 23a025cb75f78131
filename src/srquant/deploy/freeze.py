"""Quantized network -> frozen network: integer weights, zero points, offsets, nothing left to learn."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from srquant.deploy.parts import LayerParts, Parts, put_together, take_apart
from srquant.errors import PolicyError
from srquant.models.network import Network
from srquant.quant.layers import QuantAdd, QuantConv2d, QuantLinear
from srquant.quant.model import Origin, QuantizedModel
from srquant.quant.policy import Policy


@dataclass(frozen=True)
class FrozenModel:
    """A deployable network.

    Attributes:
        network: with ``FrozenConv2d``, ``FrozenLinear`` and ``FrozenAdd`` layers; on the CPU, in evaluation mode.
        policy: which layers were quantized, and their bits.
        origin: how.
        parts: what each frozen layer is made of, by name.
    """

    network: Network
    policy: Policy
    origin: Origin
    parts: Mapping[str, Parts]


def freeze(model: QuantizedModel) -> FrozenModel:
    """The deployable form of a quantized network; computes the same up to float rounding.

    Args:
        model: left unchanged.

    Raises:
        PolicyError: a grid's bounds are not finite or not apart.
    """
    parts = {
        name: take_apart(module)
        for name, module in model.network.module.named_modules()
        if isinstance(module, QuantConv2d | QuantLinear | QuantAdd)
    }
    for name, part in parts.items():
        check_grids(name, part)
    return assemble(model.network, model.policy, model.origin, parts)


def assemble(network: Network, policy: Policy, origin: Origin, parts: Mapping[str, Parts]) -> FrozenModel:
    """A copy of ``network`` whose named layers are made of ``parts``."""
    frozen = copy.deepcopy(network).cpu().eval().requires_grad_(False)
    for name, part in parts.items():
        frozen.module.set_submodule(name, put_together(part))
    return FrozenModel(frozen, policy, origin, parts)


def check_grids(name: str, part: Parts) -> None:
    """Raise a ``PolicyError`` unless all bounds and scales of a layer are finite and all steps positive."""
    width = part.bounds.upper - part.bounds.lower
    positive = [("distance of the bounds", width)]
    if isinstance(part, LayerParts):
        positive.append(("weight scale", part.weight.scale))
    for what, values in positive:
        if not _finite(values) or bool((values <= 0).any()):
            raise PolicyError(f"layer {name!r}: {what} is {values.flatten()[:4].tolist()}; it must be finite and > 0")


def _finite(values: Tensor) -> bool:
    return bool(torch.isfinite(values).all())
