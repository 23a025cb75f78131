"""CABM: content-aware bit mapping (Tian et al., CVPR 2023).

1. First part of the run: CADyQ.
2. The trained network sees patches of 96 x 96 pixels, 94 apart. For each edge score, in hundredths, the table gets the
   different choices of bits that occur, by ascending FAB (section 3.3).
3. A score that the table doesn't have, or whose entry has a FAB of ``calibration`` or more, takes the entry of the next
   lower score that has a usable one (section 3.4).
4. Rest of the run: bits come from the table; L1 and attention as in CADyQ, at a tenth of its rate.

When the network runs, one Laplacian per picture chooses the bits of all layers.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from srquant.data.overlapping import overlapping_patches
from srquant.distillation.losses import WHITE, output_loss
from srquant.errors import PolicyError
from srquant.grids.picture_edges import edge_score
from srquant.insertion.policy import Policy
from srquant.insertion.quantized_model import QuantizedModel
from srquant.insertion.replace_quantizers import replace_activation_quantizers
from srquant.methods.cabm.edge_table import Configuration, in_hundredths, usable_entries
from srquant.methods.cabm.table_quantizer import MappedQuantizer
from srquant.methods.cadyq import method as cadyq
from srquant.methods.cadyq.candidates import noted_flags
from srquant.methods.cadyq.selector import SelectingQuantizer
from srquant.methods.options import option
from srquant.methods.ranges.pipeline import origin_of
from srquant.models.network import Network
from srquant.quantizers.base import InputQuantizer
from srquant.training.student import Plan

SIDE, STEP = 96, 94
"""Side and distance of the patches that fill the table, in low-resolution pixels."""

TOGETHER = 16
"""Patches that go through the network at once."""


@dataclass(frozen=True)
class CABM(cadyq.CADyQ):
    """Options of ``cabm``: those of ``cadyq`` for its first part, and its own."""

    selection: float = option(0.5, "share of the run that trains CADyQ; the rest finetunes with the table", "ours")
    patches: str | None = option(
        None, "folder of low-resolution pictures whose patches fill the table; none: the first training crops", "ours"
    )
    select_bit: int = option(0, "which choice of a score is taken, by ascending FAB from 0", "released code")
    calibration: float = option(6.0, "entries with this FAB and above are left out", "released code")
    finetune_rate: float = option(1e-5, "of weights and biases with the table, other rates in proportion", "section 4")


class CABMStudent(cadyq.CADyQStudent):
    """CADyQ's student, which is given a table on the way.

    Args:
        network: with ``MappedQuantizer`` layers.
        teacher: float.
        policy: of the network.
        config: the options.
        steps: of the whole run.
        patches: uint8 ``N x 3 x H x W``, which fill the table.
    """

    def __init__(
        self,
        network: Network,
        teacher: Network,
        policy: Policy,
        config: CABM,
        steps: int,
        patches: Sequence[Tensor],
    ) -> None:
        self.first = first_part(config, steps)
        super().__init__(network, teacher, policy, config, self.first)
        self.cabm = config
        self.second_plan = Plan(steps - self.first, cadyq.EPOCHS)
        self.patches = patches

    def forward(self, low: Tensor, high: Tensor, step: int) -> Tensor:
        """CADyQ's loss; with the table, without the weight of the bits."""
        if step < self.first:
            return super().forward(low, high, step)
        with noted_flags(mapped(self.network)) as flags:
            pictures, taught = self.taught(low)
        bits = torch.tensor(self.cabm.candidates, dtype=torch.float32, device=low.device)
        self.mean_bits.copy_(bits[torch.stack(flags)].mean())
        return WHITE * output_loss(pictures, high) + taught

    def rate_factor(self, step: int) -> float:
        """Halved as the config says in each part."""
        if step < self.first:
            return super().rate_factor(step)
        start = self.cabm.finetune_rate / self.cabm.learning_rate
        return start * self.second_plan.halved(step - self.first, self.cabm.halve_every)

    def after_step(self, step: int) -> None:
        """As CADyQ; behind the last step of the first part the table is filled."""
        super().after_step(step)
        if step == self.first - 1:
            map_by_edges(self.network, self.patches, self.cabm)

    def result(self) -> QuantizedModel:
        """Every layer keeps its part of the table and nothing that chooses."""
        return replace(super().result(), origin=origin_of("cabm", self.cabm))


@torch.no_grad()
def map_by_edges(network: Network, patches: Iterable[Tensor], config: CABM) -> None:
    """Fill the table from what the selectors choose for patches, and give it to them, in place."""
    seen = configurations(network, patches, config.candidates)
    entries = usable_entries(seen, config.select_bit, config.calibration)
    edges = torch.tensor([entry.score for entry in entries])
    flags = torch.tensor([entry.flags for entry in entries], dtype=torch.uint8)
    for layer, quantizer in enumerate(mapped(network)):
        quantizer.map_to(edges, flags[:, layer])


@torch.no_grad()
def configurations(network: Network, patches: Iterable[Tensor], candidates: Sequence[int]) -> list[Configuration]:
    """What the layers choose for each patch.

    Args:
        network: with quantizers that choose; in evaluation mode while this runs.
        patches: uint8 ``N x 3 x H x W`` each.
        candidates: bits.
    """
    training, seen = network.training, []
    device = next(network.parameters()).device
    network.eval()
    for batch in patches:
        images = batch.to(device).float() / 255
        with noted_flags(mapped(network)) as flags:
            network(images)
        scores = in_hundredths(edge_score(images)).tolist()
        for score, chosen in zip(scores, torch.stack(flags, 1).tolist(), strict=True):
            fab = sum(candidates[flag] for flag in chosen) / len(chosen)
            seen.append(Configuration(score, tuple(chosen), fab))
    network.train(training)
    return seen


def mapped(network: Network) -> list[MappedQuantizer]:
    """The quantizers that are to get a table, in the order of their layers."""
    return [module for module in network.modules() if isinstance(module, MappedQuantizer)]


def prepare(network: Network, crops: Sequence[Tensor], policy: Policy, config: CABM, steps: int) -> CABMStudent:
    """CADyQ's student with room for a table; arguments as ``trained_registry.Prepare``."""
    if first_part(config, steps) in (0, steps):
        raise PolicyError(f"selection is {config.selection}: of {steps} steps, leave some to each part of cabm")
    if config.select_bit < 0:
        raise PolicyError(f"select_bit is {config.select_bit}: use 0 for the choice of the fewest bits, 1 for the next")
    patches = patches_of(config, crops)
    capacity = sum(len(batch) for batch in patches)
    student = cadyq.prepare(network, crops, policy, config, steps)
    replace_activation_quantizers(student.network, lambda old: with_room(old, capacity))
    return CABMStudent(student.network, network, student.policy, config, steps, patches)


def with_room(quantizer: InputQuantizer, capacity: int) -> InputQuantizer:
    """A quantizer that chooses, with room for a table of so many entries; others stay."""
    if not isinstance(quantizer, SelectingQuantizer):
        return quantizer
    roomy = MappedQuantizer(
        quantizer.choices, quantizer.features, quantizer.channel_axis, quantizer.gradient_scale, capacity
    )
    roomy.bounds.data.copy_(quantizer.bounds.data)
    roomy.current = quantizer.current
    return roomy


def first_part(config: CABM, steps: int) -> int:
    """Steps that train CADyQ."""
    return round(config.selection * steps)


def patches_of(config: CABM, crops: Sequence[Tensor]) -> list[Tensor]:
    """Batches of patches, uint8 ``N x 3 x H x W``: of the folder, or the crops where there is none."""
    if config.patches is None:
        return [(255 * crop).round().to(torch.uint8) for crop in crops]
    patches = [
        np.ascontiguousarray(patch.transpose(2, 0, 1))
        for patch in overlapping_patches(Path(config.patches), SIDE, STEP)
    ]
    return [torch.from_numpy(np.stack(patches[i : i + TOGETHER])) for i in range(0, len(patches), TOGETHER)]
