"""What a frozen network spends: codes, bits, whether ranges rest, and which engine runs it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from srquant.data.benchmark import BenchmarkSet
from srquant.deploy.frozen.freeze import FrozenModel
from srquant.insertion.branched_network import BranchedNetwork
from srquant.measure.cost.chosen_bits import chooses
from srquant.measure.cost.codes_used import codes_used
from srquant.measure.cost.effective_bits import CodesUsed, mean_effective_bits
from srquant.measure.cost.formulas import FLOAT_BITS, bit_ops, mean_activation_bits, mean_weight_bits
from srquant.measure.cost.layer_costs import layer_costs
from srquant.measure.cost.layer_summaries import Ranges, layer_summaries
from srquant.models.network import Network
from srquant.quantizers.by_picture import conditional_quantizers

PICTURES, SIDE = 5, 128
"""Codes are counted on the middle of this many pictures, this many pixels wide and high at most."""

HEIGHT, WIDTH = 180, 320
"""Size of the picture whose bit operations are counted."""


@dataclass(frozen=True)
class Spending:
    """What a quantized network costs.

    Attributes:
        effective_activation_bits: log2 of the activation codes that occur, mean over the layers between head and tail.
        effective_weight_bits: the same of weights; None where only matrix products are quantized.
        activation_bits: weighted by multiply-accumulates; mean over the pictures where it depends on them.
        weight_bits: weighted by the number of weights.
        bit_ops: for a picture of 180 x 320; mean over the pictures' bits where they differ.
        ranges: whether activation ranges depend on the picture.
        layers: the codes of each layer and operand.
    """

    effective_activation_bits: float
    effective_weight_bits: float | None
    activation_bits: float
    weight_bits: float
    bit_ops: float
    ranges: Ranges
    layers: tuple[CodesUsed, ...]

    @property
    def overspends(self) -> list[str]:
        """Layers with more codes than the bits they are said to have."""
        return [layer.name for layer in self.layers if layer.overspends]

    @property
    def effective(self) -> str:
        """Effective bits in words."""
        weights = "" if self.effective_weight_bits is None else f", {self.effective_weight_bits:.2f} weights"
        return f"{self.effective_activation_bits:.2f} activations{weights}"

    @property
    def sentence(self) -> str | None:
        """What a reader must know before comparing, if anything."""
        if not self.overspends:
            return None
        return (
            f"{len(self.overspends)} layers spend more codes than their bits have: compare by effective bits, "
            f"{self.effective}"
        )

    def to_json(self) -> dict[str, Any]:
        """All of it for ``json.dumps``."""
        said = {"overspends": self.overspends, "effective": self.effective, "sentence": self.sentence}
        return asdict(self) | said | {"layers": [layer.to_json() for layer in self.layers]}


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
    activations, weights = mean_effective_bits(used, model.network.facts.ends)
    return Spending(
        activations,
        weights,
        fmean(mean_activation_bits(layers) for layers in costs),
        mean_weight_bits(costs[0]),
        fmean(bit_ops(layers) for layers in costs),
        ranges_of(model.network),
        tuple(used),
    )


def running(network: Network, pictures: Sequence[Tensor]) -> list[Network]:
    """The branch that each picture takes; the network itself, once, where it has no branches."""
    if not isinstance(network, BranchedNetwork):
        return [network]
    return [network.branch_for(picture) for picture in pictures]


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
