"""Cost report of a frozen network: codes used, bits, bit operations, and whether activation ranges are static."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from srquant.data.benchmark import Sample
from srquant.deploy.frozen.freeze import FrozenModel
from srquant.grids.uniform import FLOAT_BITS
from srquant.insertion.branched_network import BranchedNetwork
from srquant.measure.cost.chosen_bits import chooses_bits
from srquant.measure.cost.codes_used import codes_used
from srquant.measure.cost.effective_bits import CodesUsed, mean_effective_bits
from srquant.measure.cost.formulas import bit_ops, mean_activation_bits, mean_weight_bits
from srquant.measure.cost.layer_costs import layer_costs
from srquant.measure.cost.layer_summaries import Ranges, layer_summaries
from srquant.models.network import Network
from srquant.quantizers.by_picture import conditional_quantizers

PICTURES, SIDE = 5, 128
"""Codes are counted on a centre crop of this many pictures, at most this many pixels wide and high."""

HEIGHT, WIDTH = 180, 320
"""Size of the picture whose bit operations are counted."""


@dataclass(frozen=True)
class CostReport:
    """Bits and operations of a quantized network.

    Attributes:
        effective_activation_bits: log2 of the activation codes that occur, mean over the layers between head and tail.
        effective_weight_bits: the same of weights; None where only matrix products are quantized.
        activation_bits: weighted by multiply-accumulates; mean over the pictures where it depends on them.
        weight_bits: weighted by the number of weights.
        bit_ops: for a picture of 180 x 320; the mean over the pictures where bits depend on the picture.
        ranges: ``dynamic`` where activation ranges depend on the picture, else ``static``.
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
    def layers_exceeding_bits(self) -> list[str]:
        """Layers that use more codes than their nominal bits can hold."""
        return [layer.name for layer in self.layers if layer.exceeds_bits]

    @property
    def effective(self) -> str:
        """Effective bits in words."""
        weights = "" if self.effective_weight_bits is None else f", {self.effective_weight_bits:.2f} weights"
        return f"{self.effective_activation_bits:.2f} activations{weights}"

    @property
    def warning(self) -> str | None:
        """Why nominal bits must not be compared; None where they may."""
        if not self.layers_exceeding_bits:
            return None
        count = len(self.layers_exceeding_bits)
        return f"{count} layers use more codes than their bits can hold: compare by effective bits, {self.effective}"

    def to_json(self) -> dict[str, Any]:
        """All of it for ``json.dumps``."""
        derived = {"overspends": self.layers_exceeding_bits, "effective": self.effective, "sentence": self.warning}
        return asdict(self) | derived | {"layers": [layer.to_json() for layer in self.layers]}


def cost_report(model: FrozenModel, pictures: Sequence[Tensor]) -> CostReport:
    """The cost report of a network.

    Args:
        model: frozen.
        pictures: ``1 x 3 x H x W`` in [0, 1]; PyTorch runs the network on each.
    """
    used = codes_used(model, pictures)
    costs = [layer_costs(network, HEIGHT, WIDTH) for network in branches_taken(model.network, pictures)]
    if chooses_bits(model.network):
        chosen = {layer.name: layer.activation_bits for layer in used}
        costs = [[replace(cost, activation_bits=chosen.get(cost.name, FLOAT_BITS)) for cost in costs[0]]]
    activations, weights = mean_effective_bits(used, model.network.facts.ends)
    return CostReport(
        activations,
        weights,
        fmean(mean_activation_bits(layers) for layers in costs),
        mean_weight_bits(costs[0]),
        fmean(bit_ops(layers) for layers in costs),
        activation_ranges(model.network),
        tuple(used),
    )


def branches_taken(network: Network, pictures: Sequence[Tensor]) -> list[Network]:
    """The branch that each picture takes; the network itself, once, where it has no branches."""
    if not isinstance(network, BranchedNetwork):
        return [network]
    return [network.branch_for(picture) for picture in pictures]


def activation_ranges(network: Network) -> Ranges:
    """``static`` where all activation ranges are fixed before a picture is known, else ``dynamic``."""
    by_layer = any(layer.ranges == "dynamic" for layer in layer_summaries(network))
    return "dynamic" if by_layer or conditional_quantizers(network.module) else "static"


def centre_crops(benchmark: Iterable[Sample], side: int = SIDE) -> list[Tensor]:
    """Centre crops of a set's first pictures, ``1 x 3 x H x W`` in [0, 1], at most ``side`` pixels high and wide."""
    return [centre_crop(sample.low, side) for _, sample in zip(range(PICTURES), benchmark, strict=False)]


def centre_crop(image: NDArray[np.uint8], side: int = SIDE) -> Tensor:
    """The centre of a picture ``H x W x 3``, 8 bit, as ``centre_crops``."""
    top, left = (max(0, (size - side) // 2) for size in image.shape[:2])
    crop = np.ascontiguousarray(image[top : top + side, left : left + side].transpose(2, 0, 1))
    return torch.from_numpy(crop)[None].float() / 255
