"""Quantized network -> frozen network: integer weights, zero points, offsets, nothing left to learn."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from srquant.deploy.frozen.branches import assemble_branches, merged
from srquant.deploy.frozen.layer_spec import ConditionalParts, LayerParts, Parts, grids, put_together, take_apart
from srquant.errors import PolicyError
from srquant.grids.uniform import relative_step, step_size
from srquant.insertion.branched_network import BranchedNetwork, representative
from srquant.insertion.policy import Policy
from srquant.insertion.quantized_model import Origin, QuantizedModel
from srquant.models.network import Network
from srquant.quantizers.by_picture import staged
from srquant.quantizers.layers import QuantAdd, QuantAddends, QuantConv2d, QuantLinear, QuantMatmul


@dataclass(frozen=True)
class FrozenModel(QuantizedModel):
    """A deployable network of frozen layers (``deploy.frozen.layers``, ``deploy.frozen.dynamic``), on the CPU.

    Attributes:
        parts: what each frozen layer is made of, by name.
    """

    parts: Mapping[str, Parts]


def freeze(model: QuantizedModel) -> FrozenModel:
    """The deployable form of a quantized network; computes the same up to float rounding.

    Args:
        model: left unchanged.

    Raises:
        PolicyError: a grid's bounds are not finite or not apart.
    """
    parts = parts_of(model.network)
    for name, part in parts.items():
        check_grids(name, part)
    network = copy.deepcopy(representative(model.network)).cpu()
    thresholds = model.network.thresholds.cpu() if isinstance(model.network, BranchedNetwork) else None
    return assemble(network, model.policy, model.origin, parts, thresholds)


def parts_of(network: Network) -> dict[str, Parts]:
    """What each quantized layer of a network, or of its branches, is made of."""
    if isinstance(network, BranchedNetwork):
        return merged([parts_of(branch) for branch in network.branches.values()])
    return {
        name: take_apart(module)
        for name, module in network.module.named_modules()
        if isinstance(module, QuantConv2d | QuantLinear | QuantAdd | QuantAddends | QuantMatmul)
    }


def assemble(
    network: Network, policy: Policy, origin: Origin, parts: Mapping[str, Parts], thresholds: Tensor | None = None
) -> FrozenModel:
    """Replace the named layers of ``network`` by what ``parts`` make, in place; with thresholds, in three branches."""
    network.eval().requires_grad_(False)
    if thresholds is not None:
        return FrozenModel(assemble_branches(network, parts, thresholds).eval(), policy, origin, parts)
    for name, part in parts.items():
        network.module.set_submodule(name, put_together(part))
    return FrozenModel(staged(network), policy, origin, parts)


def check_grids(name: str, part: Parts) -> None:
    """Raise a ``PolicyError`` unless all bounds and scales of a layer are finite and all steps positive."""
    positive: list[tuple[str, Tensor]] = []
    for bounds in grids(part).values():
        positive.append(("step of the input's grid", step_size(bounds.lower, bounds.upper, bounds.levels)))
        if bounds.pieces is not None:
            positive.append(("width of a region", bounds.pieces.edges.diff()))
        if bounds.shift is not None and not _finite(bounds.shift):
            raise PolicyError(f"layer {name!r}: shifts of its channels are not finite; train with a lower rate")
        relative = relative_step(bounds.lower, bounds.upper)
        if relative is not None:
            positive.append(("step of a channel over their mean", relative))
    if isinstance(part, LayerParts | ConditionalParts):
        positive.append(("weight scale", part.weight.scale))
    for what, values in positive:
        if not _finite(values) or bool((values <= 0).any()):
            raise PolicyError(f"layer {name!r}: {what} is {values.flatten()[:4].tolist()}; it must be finite and > 0")


def _finite(values: Tensor) -> bool:
    return bool(torch.isfinite(values).all())
