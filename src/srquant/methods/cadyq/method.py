"""CADyQ: content-aware dynamic quantization (Hong et al., ECCV 2022).

1. Weights have 8 bits and a symmetric grid up to their largest magnitude (section 3.1).
2. The input of each layer has a PAMS grid for each of 4, 6 and 8 bits, with one learned ``alpha`` each. A bit selector,
   which is a linear layer, chooses one of them from the mean derivatives of the gray picture and the standard deviation
   of each channel (section 3.2). The forward pass uses the chosen grid, the backward pass the mixture weighted by the
   softmax. All bit selectors start at 8 bits.
3. Loss (section 3.3): L1 + w_bit * bits + 1000 * difference of the attention maps before the tail + 100 * difference of
   those of each block, both from the float network. ``w_bit`` grows with the epochs.

At inference each layer chooses its bits for each picture.

========================  ==========================================================================
in the paper              here
========================  ==========================================================================
bit selector              ``bit_selector.BitSelectorQuantizer``, its linear layer ``selector``
bit-width candidates      ``candidates``
alpha of each candidate   ``CandidateQuantizer.bounds``
p, probabilities          ``p`` in ``BitSelectorQuantizer``
bit loss                  ``bit_selector.bit_loss``
w_bit (code)              ``CADyQStudent.bit_weight``
distillation losses       ``block_attention.BlockAttentionTeacher``
========================  ==========================================================================
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from srquant.distillation.loop import Rate
from srquant.distillation.losses import WHITE, output_loss
from srquant.errors import PolicyError
from srquant.grids.range_rules import symmetric_max
from srquant.insertion.collect_ranges import Collection, activation_bounds
from srquant.insertion.insert_quantizers import insert_quantizers
from srquant.insertion.plan import resolve
from srquant.insertion.policy import Policy
from srquant.insertion.quantize_addends import quantize_addends
from srquant.insertion.quantized_model import QuantizedModel
from srquant.insertion.refit_weight_grids import refit_weight_grids, signed_max
from srquant.insertion.replace_quantizers import replace_activation_quantizers
from srquant.methods.cadyq.bit_selector import BitSelectorQuantizer, Choice, bit_loss
from srquant.methods.cadyq.block_attention import BlockAttentionTeacher
from srquant.methods.cadyq.candidates import CandidateQuantizer
from srquant.methods.options import option
from srquant.methods.ranges.pipeline import origin_of
from srquant.methods.settle_trained import deployable, learns_weights, require_tensor_grids
from srquant.models.network import Network, modules_of
from srquant.quantizers.base import ActivationQuantizer, InputQuantizer
from srquant.quantizers.by_picture import with_picture_access
from srquant.quantizers.layers import QuantAddends, QuantLayer, quant_layers
from srquant.quantizers.symmetric import SymmetricQuantizer
from srquant.training.learning_rates import MOST_CHANGE, network_rates
from srquant.training.student import Plan, Student

EPOCHS = 300

PUBLISHED_BATCH = 16
"""The released code sums the bits over a batch of this size; here the mean over any batch is multiplied by it."""

GRADIENT_SCALE = 1000.0
"""Factor of the picture's derivatives for networks in [0, 255]; 1 for others (released code)."""

OUTPUT_BITS = 8
"""Bits of the outputs of residual blocks."""


@dataclass(frozen=True)
class CADyQ:
    """Options of ``cadyq``."""

    candidates: tuple[int, ...] = option((4, 6, 8), "bits among which each layer chooses, ascending", "section 4.1")
    learning_rate: float = option(1e-4, "of weights and biases", "section 4.1")
    most_change: float | None = option(None, MOST_CHANGE, "ours; none: as published")
    selector_rate: float = option(1e-4, "of the bit selectors", "released code")
    bound_rate: float = option(1e-2, "of the bounds alpha", "released code")
    rates: Literal["absolute", "relative"] = option(
        "absolute", "relative: bound_rate times each bound, which networks in [0, 255] need", "released code; ours"
    )
    halve_every: int = option(150, f"in epochs; a run of any length is divided into {EPOCHS}", "section 4.1")
    bit_weight: float = option(1e-4, "weight of the bit loss", "released code")
    bit_growth: float = option(1e-6, f"added to bit_weight in each of {EPOCHS} epochs", "released code")
    warmup: float = option(0.1, "share of the run without the bit loss, instead of a start from 8-bit PAMS", "ours")
    attention_weight: float = option(1000.0, "of the attention loss before the tail", "released code")
    addends: bool = option(
        True,
        "quantize skip connections with the grid of the block's input, and block outputs with 8 bits",
        "released code",
    )
    block_weight: float = option(100.0, "of the attention loss of each block", "released code")


class CADyQStudent(Student):
    """A network with bit selectors, and its teacher."""

    def __init__(self, network: Network, teacher: Network, policy: Policy, config: CADyQ, steps: int) -> None:
        super().__init__(network)
        self.policy, self.config = policy, config
        self.teacher = BlockAttentionTeacher(teacher)
        self.plan = Plan(steps, EPOCHS)
        self.mean_bits: Tensor
        self.register_buffer("mean_bits", torch.tensor(float(config.candidates[-1])))

    def forward(self, low: Tensor, high: Tensor, step: int) -> Tensor:
        """L1 in grey levels + weighted bit loss + attention losses."""
        pictures, attention = self.distilled(low)
        choices = [quantizer.take() for quantizer in selectors(self.network)]
        self.record_bits(choices)
        bits = self.bit_weight(step) * PUBLISHED_BATCH * bit_loss(choices)
        return WHITE * output_loss(pictures, high) + bits + attention

    def distilled(self, low: Tensor) -> tuple[Tensor, Tensor]:
        """The network's pictures, and its weighted attention losses, 0-d."""
        pictures, attention, blocks = self.teacher(self.network, low)
        return pictures, self.config.attention_weight * attention + self.config.block_weight * blocks

    def bit_weight(self, step: int) -> float:
        """``w_bit`` in a step."""
        if step < self.config.warmup * self.plan.steps:
            return 0.0
        return self.config.bit_weight + self.config.bit_growth * (self.plan.epoch(step) + 1)

    @torch.no_grad()
    def record_bits(self, choices: Sequence[Choice]) -> None:
        """Store the mean bits of a batch, for the log."""
        self.mean_bits.copy_(torch.stack([choice.bits.mean() for choice in choices]).mean())

    def rates(self) -> Iterable[Rate]:
        """Rates of the network, of the bit selectors, and of the bounds."""
        yield from network_rates(self.network, self.config.learning_rate, self.config.most_change)
        yield Rate([p for q in selectors(self.network) for p in q.selector.parameters()], self.config.selector_rate)
        yield from bound_rates(self.network, self.config)

    def rate_factor(self, step: int) -> float:
        """Halved after every ``halve_every`` epochs."""
        return self.plan.halved(step, self.config.halve_every)

    def after_step(self, step: int) -> None:
        """Compute the bounds of weights again; keep those of activations positive."""
        refit_weight_grids(self.network, signed_max)
        keep_positive(self.network)

    def logged(self) -> Mapping[str, float]:
        """Mean bits of the layers with a bit selector, in the last batch."""
        return {"bits": float(self.mean_bits)}

    def result(self) -> QuantizedModel:
        """The network with fixed weight grids; its bit selectors stay."""
        return deployable(self.network, self.policy, origin_of("cadyq", self.config))


def prepare(network: Network, crops: Sequence[Tensor], policy: Policy, config: CADyQ, steps: int) -> CADyQStudent:
    """Insert bit selectors before all layers of the body; arguments as ``trained_registry.Prepare``."""
    check(policy, config)
    policy = replace(policy, symmetric_weights=False)
    plan = resolve(network, policy)
    if not plan.body:
        raise PolicyError(
            "cadyq finds no layer in the body for a bit selector: give some layers of the body the base bits"
        )
    samples = (sample for crop in crops for sample in torch.split(crop, 1))
    bounds = activation_bounds(network, plan, samples, Collection(symmetric_max, "mean"))
    student = insert_quantizers(network, plan, bounds, signed_max)
    if config.addends:
        quantize_addends(student, plan)
    scale = GRADIENT_SCALE if network.facts.value_range > 1 else 1.0
    made: dict[InputQuantizer, InputQuantizer] = {
        layer.input_quantizer: bit_selector_of(layer, config, scale)
        for name, layer in quant_layers(student).items()
        if name in plan.body
    }
    made |= {
        module.right: SymmetricQuantizer(bounded(module.right).upper, OUTPUT_BITS)
        for module in student.modules()
        if isinstance(module, QuantAddends)
    }
    replace_activation_quantizers(student, lambda old: made.get(old, old))
    learned = learns_weights(with_picture_access(student))
    for quantizer in selectors(learned):
        quantizer.requires_grad_(True)
    for output in outputs(learned):
        output.upper.requires_grad_(True)
    return CADyQStudent(learned, network, policy, config, steps)


def bit_selector_of(layer: QuantLayer, config: CADyQ, gradient_scale: float) -> BitSelectorQuantizer:
    """The bit selector of a layer's input, which starts with the bound of its present quantizer."""
    quantizer = BitSelectorQuantizer(config.candidates, layer.channels, layer.channel_axis, gradient_scale)
    quantizer.bounds.data.fill_(float(bounded(layer.input_quantizer).upper.detach()))
    return quantizer


def bounded(quantizer: InputQuantizer) -> ActivationQuantizer:
    """The same quantizer, with the type that has bounds."""
    assert isinstance(quantizer, ActivationQuantizer)  # fresh from insertion, where all have bounds
    return quantizer


def outputs(network: Network) -> list[SymmetricQuantizer]:
    """The quantizers of block outputs."""
    return list(modules_of(network, SymmetricQuantizer).values())


def check(policy: Policy, config: CADyQ) -> None:
    """Raise a ``PolicyError`` if policy and candidates contradict each other, or the policy doesn't fit the method."""
    require_tensor_grids("cadyq", policy)
    if policy.skip_bits is not None or "matmul" in policy.kinds:
        raise PolicyError("cadyq quantizes inputs of layers: leave sums and matrix products float")
    if len(config.candidates) < 2 or list(config.candidates) != sorted(set(config.candidates)):
        raise PolicyError(f"candidates are {config.candidates}: give two or more different bits, ascending")
    if policy.base.activation != config.candidates[-1]:
        raise PolicyError(
            f"candidates are {', '.join(map(str, config.candidates))} bits, but the policy gives activations "
            f"{policy.base.activation}: use -a {config.candidates[-1]}, or other candidates (--set candidates=...)"
        )


def selectors(network: Network) -> list[BitSelectorQuantizer]:
    """The quantizers with a bit selector."""
    return list(modules_of(network, BitSelectorQuantizer).values())


def bound_rates(network: Network, config: CADyQ) -> Iterable[Rate]:
    """Rates of the bounds of all candidates and of block outputs."""
    for quantizer in candidate_quantizers(network):
        scale = float(quantizer.bounds.detach().mean()) if config.rates == "relative" else 1.0
        yield Rate([quantizer.bounds], config.bound_rate * scale)
    for output in outputs(network):
        scale = float(output.upper.detach()) if config.rates == "relative" else 1.0
        yield Rate([output.upper], config.bound_rate * scale)


def candidate_quantizers(network: Network) -> list[CandidateQuantizer]:
    """The quantizers with candidates, in module order."""
    return list(modules_of(network, CandidateQuantizer).values())


def keep_positive(network: Network) -> None:
    """Keep all bounds above zero."""
    for quantizer in candidate_quantizers(network):
        quantizer.keep_positive()
    for output in outputs(network):
        output.keep_positive()
