"""CABM: content-aware bit mapping (Tian et al., CVPR 2023).

1. First part of the run: CADyQ, which trains the bit selectors.
2. Edge-to-bit LUT (section 3.3): the trained network is run on patches of 96 x 96 pixels, 94 apart. For each edge
   score, rounded to hundredths, the different bit configurations that occur are collected by ascending FAB, and one of
   them is the score's entry.
3. Calibration of the LUT (section 3.4): entries with a FAB of ``calibration`` or more are removed. A score without
   entry uses that of the next lower score.
4. Second part of the run, finetuning: bits come from the LUT; losses as in CADyQ but without the bit loss, at a tenth
   of its learning rate.

At inference one Laplacian per picture decides the bits of all layers.

=====================  ==========================================================================
in the paper           here
=====================  ==========================================================================
edge score             ``grids.picture_edges.edge_score``
bit configuration      ``edge_to_bit_lut.BitConfiguration``
edge-to-bit LUT        ``build_lut``, ``edge_to_bit_lut.usable_entries``, ``lut_quantizer``
calibration            ``calibration``, ``edge_to_bit_lut.look_up``
MLP bit selector       ``cadyq.bit_selector.BitSelectorQuantizer``
=====================  ==========================================================================
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
from srquant.methods.cabm.edge_to_bit_lut import BitConfiguration, in_hundredths, usable_entries
from srquant.methods.cabm.lut_quantizer import BitMappingQuantizer
from srquant.methods.cadyq import method as cadyq
from srquant.methods.cadyq.bit_selector import BitSelectorQuantizer
from srquant.methods.cadyq.candidates import recorded_choices
from srquant.methods.options import option
from srquant.methods.ranges.pipeline import origin_of
from srquant.models.network import Network, modules_of
from srquant.quantizers.base import InputQuantizer
from srquant.training.student import Plan

SIDE, STEP = 96, 94
"""Side and distance of the patches for the LUT, in low-resolution pixels."""

PATCH_BATCH = 16
"""Patches in a batch."""


@dataclass(frozen=True)
class CABM(cadyq.CADyQ):
    """Options of ``cabm``: those of ``cadyq`` for the first part of the run, and more."""

    selection: float = option(
        0.5, "share of the run that trains CADyQ; afterwards the network is finetuned with the LUT", "ours"
    )
    patches: str | None = option(
        None, "folder of low-resolution pictures from which the LUT is built; none: the first training crops", "ours"
    )
    select_bit: int = option(
        0, "which bit configuration of a score is used, counted from 0 by ascending FAB", "released code"
    )
    calibration: float = option(6.0, "entries of the LUT with this FAB and above are left out", "released code")
    finetune_rate: float = option(
        1e-5, "of weights and biases with the LUT; other rates change by the same factor", "section 4"
    )


class CABMStudent(cadyq.CADyQStudent):
    """CADyQ's student, which gets the LUT after the first part of the run.

    Args:
        network: with ``BitMappingQuantizer`` modules.
        teacher: float.
        policy: of the network.
        config: the options.
        steps: of the whole run.
        patches: from which the LUT is built, uint8 ``N x 3 x H x W`` each.
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
        self.selection_steps = selection_steps(config, steps)
        super().__init__(network, teacher, policy, config, self.selection_steps)
        self.cabm = config
        self.second_plan = Plan(steps - self.selection_steps, cadyq.EPOCHS)
        self.patches = patches

    def forward(self, low: Tensor, high: Tensor, step: int) -> Tensor:
        """CADyQ's loss; in the second part of the run without the bit loss."""
        if step < self.selection_steps:
            return super().forward(low, high, step)
        with recorded_choices(lut_quantizers(self.network)) as choices:
            pictures, attention = self.distilled(low)
        bits = torch.tensor(self.cabm.candidates, dtype=torch.float32, device=low.device)
        self.mean_bits.copy_(bits[torch.stack(choices)].mean())
        return WHITE * output_loss(pictures, high) + attention

    def rate_factor(self, step: int) -> float:
        """Halved after every ``halve_every`` epochs of each part of the run."""
        if step < self.selection_steps:
            return super().rate_factor(step)
        start = self.cabm.finetune_rate / self.cabm.learning_rate
        return start * self.second_plan.halved(step - self.selection_steps, self.cabm.halve_every)

    def after_step(self, step: int) -> None:
        """As CADyQ; the last step of the first part is followed by building the LUT."""
        super().after_step(step)
        if step == self.selection_steps - 1:
            build_lut(self.network, self.patches, self.cabm)

    def result(self) -> QuantizedModel:
        """The network with fixed weight grids and the LUT, without bit selectors."""
        return replace(super().result(), origin=origin_of("cabm", self.cabm))


@torch.no_grad()
def build_lut(network: Network, patches: Iterable[Tensor], config: CABM) -> None:
    """Build the edge-to-bit LUT from the bits chosen for patches, and set it in all quantizers, in place."""
    seen = configurations(network, patches, config.candidates)
    entries = usable_entries(seen, config.select_bit, config.calibration)
    edges = torch.tensor([entry.score for entry in entries])
    chosen = torch.tensor([entry.chosen for entry in entries], dtype=torch.uint8)
    for layer, quantizer in enumerate(lut_quantizers(network)):
        quantizer.set_lut(edges, chosen[:, layer])


@torch.no_grad()
def configurations(network: Network, patches: Iterable[Tensor], candidates: Sequence[int]) -> list[BitConfiguration]:
    """The bit configuration of each patch.

    Args:
        network: with bit selectors; it is in evaluation mode while this runs.
        patches: uint8 ``N x 3 x H x W`` each.
        candidates: bits.
    """
    training, seen = network.training, []
    device = next(network.parameters()).device
    network.eval()
    for batch in patches:
        images = batch.to(device).float() / 255
        with recorded_choices(lut_quantizers(network)) as choices:
            network(images)
        scores = in_hundredths(edge_score(images)).tolist()
        for score, chosen in zip(scores, torch.stack(choices, 1).tolist(), strict=True):
            fab = sum(candidates[flag] for flag in chosen) / len(chosen)
            seen.append(BitConfiguration(score, tuple(chosen), fab))
    network.train(training)
    return seen


def lut_quantizers(network: Network) -> list[BitMappingQuantizer]:
    """The quantizers that get the LUT, in module order."""
    return list(modules_of(network, BitMappingQuantizer).values())


def prepare(network: Network, crops: Sequence[Tensor], policy: Policy, config: CABM, steps: int) -> CABMStudent:
    """CADyQ's student with space for the LUT; arguments as ``trained_registry.Prepare``."""
    if selection_steps(config, steps) in (0, steps):
        raise PolicyError(f"selection is {config.selection}: each part of cabm needs at least one of the {steps} steps")
    if config.select_bit < 0:
        raise PolicyError(
            f"select_bit is {config.select_bit}: use 0 for the configuration with the fewest bits, 1 for the next"
        )
    patches = lut_patches(config, crops)
    capacity = sum(len(batch) for batch in patches)
    student = cadyq.prepare(network, crops, policy, config, steps)
    replace_activation_quantizers(student.network, lambda old: with_lut_space(old, capacity))
    return CABMStudent(student.network, network, student.policy, config, steps, patches)


def with_lut_space(quantizer: InputQuantizer, capacity: int) -> InputQuantizer:
    """A quantizer with a bit selector gets space for ``capacity`` LUT entries; others are returned unchanged."""
    if not isinstance(quantizer, BitSelectorQuantizer):  # outputs of blocks have none
        return quantizer
    result = BitMappingQuantizer(
        quantizer.choices, quantizer.features, quantizer.channel_axis, quantizer.gradient_scale, capacity
    )
    result.bounds.data.copy_(quantizer.bounds.data)
    result.current = quantizer.current
    return result


def selection_steps(config: CABM, steps: int) -> int:
    """Number of steps of the first part of the run, CADyQ."""
    return round(config.selection * steps)


def lut_patches(config: CABM, crops: Sequence[Tensor]) -> list[Tensor]:
    """Batches of patches for the LUT, uint8 ``N x 3 x H x W``: of the folder, or the crops if no folder is given."""
    if config.patches is None:
        return [(255 * crop).round().to(torch.uint8) for crop in crops]
    patches = [
        np.ascontiguousarray(patch.transpose(2, 0, 1))
        for patch in overlapping_patches(Path(config.patches), SIDE, STEP)
    ]
    return [torch.from_numpy(np.stack(patches[i : i + PATCH_BATCH])) for i in range(0, len(patches), PATCH_BATCH)]
