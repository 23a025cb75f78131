"""What a frozen network spends: codes, bits, whether ranges rest, and which engine runs it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from srquant.data.benchmark import BenchmarkSet
from srquant.deploy.accounting import layer_costs
from srquant.deploy.choices import chooses, chosen_bits
from srquant.deploy.dynamic import DynamicLayer, DynamicPoints
from srquant.deploy.freeze import FrozenModel
from srquant.deploy.parts import ConditionalParts, LayerParts
from srquant.deploy.summary import Ranges, layer_summaries
from srquant.evaluate.costs import FLOAT_BITS, bit_ops, mean_activation_bits, mean_weight_bits
from srquant.evaluate.effective import CodesUsed, Seen, counted, mean_effective_bits, watched
from srquant.models.network import Network
from srquant.quant.branches import BranchedNetwork
from srquant.quant.conditional import conditional_quantizers

PICTURES, SIDE = 5, 128
"""Codes are counted on the middle of this many pictures, this many pixels wide and high at most."""

HEIGHT, WIDTH = 180, 320
"""Size of the picture whose bit operations are counted."""


@dataclass(frozen=True)
class Spending:
    """What a quantized network costs.

    Attributes:
        effective_activation_bits: log2 of the activation codes that occur, mean over the low-bit layers.
        effective_weight_bits: the same of weights.
        activation_bits: weighted by multiply-accumulates; mean over the pictures where it depends on them.
        weight_bits: weighted by the number of weights.
        bit_ops: for a picture of 180 x 320; mean over the pictures' bits where they differ.
        ranges: whether activation ranges depend on the picture.
        overspends: layers with more codes than the bits they are said to have.
    """

    effective_activation_bits: float
    effective_weight_bits: float
    activation_bits: float
    weight_bits: float
    bit_ops: float
    ranges: Ranges
    overspends: tuple[str, ...]

    @property
    def sentence(self) -> str | None:
        """What a reader must know before comparing, if anything."""
        if not self.overspends:
            return None
        return (
            f"{len(self.overspends)} layers spend more codes than their bits have: compare by effective bits, "
            f"{self.effective_activation_bits:.2f} for activations and {self.effective_weight_bits:.2f} for weights"
        )


def spending(model: FrozenModel, pictures: Sequence[Tensor]) -> Spending:
    """Count what a network spends.

    Args:
        model: frozen.
        pictures: ``1 x 3 x H x W`` in [0, 1]; PyTorch runs the network on each.
    """
    used = codes_used(model, pictures)
    costs = [layer_costs(network, HEIGHT, WIDTH) for network in running(model.network, pictures)]
    if chooses(model.network):
        chosen = {layer.name: layer.activation_bits for layer in used}
        costs = [[replace(cost, activation_bits=chosen.get(cost.name, FLOAT_BITS)) for cost in costs[0]]]
    activations, weights = mean_effective_bits(used)
    overspent = tuple(layer.name for layer in used if layer.overspends)
    return Spending(
        activations,
        weights,
        fmean(mean_activation_bits(layers) for layers in costs),
        mean_weight_bits(costs[0]),
        fmean(bit_ops(layers) for layers in costs),
        ranges_of(model.network),
        overspent,
    )


def running(network: Network, pictures: Sequence[Tensor]) -> list[Network]:
    """The branch that each picture takes; the network itself, once, where it has no branches."""
    if not isinstance(network, BranchedNetwork):
        return [network]
    return [network.branch_for(picture) for picture in pictures]


def codes_used(model: FrozenModel, pictures: Iterable[Tensor]) -> list[CodesUsed]:
    """Codes of every quantized convolution and linear layer.

    Args:
        model: frozen.
        pictures: as ``spending``; at least one.
    """
    layers = {name: part for name, part in model.parts.items() if isinstance(part, LayerParts | ConditionalParts)}
    seen: dict[str, list[Tensor]] = {name: [] for name in layers}
    bits: dict[str, list[float]] = {name: [] for name in layers}
    for picture in pictures:
        branch = model.network.branch_for(picture) if isinstance(model.network, BranchedNetwork) else model.network
        for name, calls in _codes_of(branch, picture, list(layers)).items():
            seen[name].append(torch.stack(calls).any(0))
        chosen = chosen_bits(branch, picture)
        for layer in layer_summaries(branch):
            if layer.name in bits:
                bits[layer.name].append(chosen.get(layer.name, layer.activation_bits))
    by_picture = isinstance(model.network, BranchedNetwork) or chooses(model.network)
    return [
        CodesUsed(
            name,
            sum(bits[name]) / len(bits[name]),
            part.weight_bits,
            counted(seen[name], by_picture),
            len(torch.unique(part.weight.codes)),
        )
        for name, part in layers.items()
    ]


def _codes_of(network: Network, picture: Tensor, names: list[str]) -> Seen:
    with torch.inference_mode(), watched({name: _grid(network, name) for name in names}) as seen:
        network(picture)
    return seen


def _grid(network: Network, name: str) -> nn.Module:
    """What returns the codes of a layer's input, or a quantizer that can tell them."""
    layer = network.module.get_submodule(name)
    if not isinstance(layer, DynamicLayer):
        return layer.get_submodule("grid")
    return layer.points.grid if isinstance(layer.points, DynamicPoints) else layer.points


def ranges_of(network: Network) -> Ranges:
    """Whether all activation ranges are known before a picture is seen."""
    by_layer = any(layer.ranges == "dynamic" for layer in layer_summaries(network))
    return "dynamic" if by_layer or conditional_quantizers(network.module) else "static"


def middles(benchmark: BenchmarkSet, side: int = SIDE) -> list[Tensor]:
    """The middle of a set's first pictures, ``1 x 3 x H x W`` in [0, 1], at most ``side`` pixels high and wide."""
    return [_middle(sample.low, side) for _, sample in zip(range(PICTURES), benchmark, strict=False)]


def _middle(image: NDArray[np.uint8], side: int) -> Tensor:
    top, left = (max(0, (size - side) // 2) for size in image.shape[:2])
    crop = np.ascontiguousarray(image[top : top + side, left : left + side].transpose(2, 0, 1))
    return torch.from_numpy(crop)[None].float() / 255
