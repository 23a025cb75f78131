"""PAMS (Li et al., ECCV 2020): parameterized max scale.

1. Activations: ``round(clip(x, -a, a) n/a) a/n`` with ``n = 2^(b-1) - 1``, one max scale ``a`` (``alpha``) per
   quantizer (Eq. 4). A residual block has three quantizers: of its input, whose points the skip connection passes as
   well, of the output of its ReLU, and of its output before the sum.
2. First epoch: ``alpha`` is the mean over a batch's samples of their largest magnitude, and nothing is clipped.
   Afterwards ``alpha`` is learned.
3. Weights: ``round(W n/max|W|) max|W|/n``, with the maximum of the present weight.
4. Loss: L1 between the network's pictures and the true ones + 1000 * SKT, structured knowledge transfer: the
   difference of the attention maps before the tail from those of the float network (section 3.3).

====================  ==========================================================
in the paper          here
====================  ==========================================================
alpha                 ``PamsQuantizer.alpha``
n                     ``(levels - 1) / 2``
EMA of max|x|         ``first_epoch=average``, ``PamsStudent.ema_decay``
SKT                   ``training.attention_teacher.AttentionTeacher``
lambda_SKT, 1000      ``attention_weight``
====================  ==========================================================
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from srquant.distillation.loop import Rate
from srquant.distillation.losses import WHITE, output_loss
from srquant.insertion.insert_quantizers import insert_quantizers
from srquant.insertion.plan import resolve
from srquant.insertion.policy import Policy
from srquant.insertion.quantize_addends import quantize_addends
from srquant.insertion.quantized_model import QuantizedModel
from srquant.insertion.refit_weight_grids import refit_weight_grids, signed_max
from srquant.insertion.replace_quantizers import replace_activation_quantizers
from srquant.methods.options import option
from srquant.methods.pams.quantizer import PamsQuantizer
from srquant.methods.ranges.pipeline import origin_of
from srquant.methods.settle_trained import (
    constant_bounds,
    deployable,
    learns_weights,
    require_float_sums,
    require_tensor_grids,
)
from srquant.models.network import Network, modules_of
from srquant.training.attention_teacher import AttentionTeacher
from srquant.training.learning_rates import MOST_CHANGE, network_rates
from srquant.training.student import Plan, Student

EPOCHS = 30

FIRST_BOUND = 10.0
"""``alpha`` before the first batch."""

DECAY = 0.9997
"""Weight of earlier batches in the moving average of ``alpha`` (section 3.2)."""


@dataclass(frozen=True)
class PAMS:
    """Options of ``pams``."""

    learning_rate: float = option(1e-4, "of weights and biases", "section 4.1")
    most_change: float | None = option(None, MOST_CHANGE, "ours; none: as published")
    bound_rate: float = option(1e-2, "of alpha", "released code")
    rates: Literal["absolute", "relative"] = option(
        "absolute", "relative: bound_rate times each alpha, which networks in [0, 255] need", "released code; ours"
    )
    halve_every: int = option(10, f"in epochs; a run of any length is divided into {EPOCHS}", "released code")
    first_epoch: Literal["last_batch", "average"] = option(
        "last_batch",
        f"alpha after it: that of the last batch, or a moving average with decay {DECAY}",
        "released code; section 3.2",
    )
    attention_weight: float = option(1000.0, "of the SKT loss, structured knowledge transfer", "section 3.3")
    addends: bool = option(True, "quantize the addends of residual blocks too", "released code")


class PamsStudent(Student):
    """A network with ``PamsQuantizer`` modules, and its teacher."""

    def __init__(self, network: Network, teacher: Network, policy: Policy, config: PAMS, steps: int) -> None:
        super().__init__(network)
        self.policy, self.config = policy, config
        self.teacher = AttentionTeacher(teacher)
        self.plan = Plan(steps, EPOCHS)

    def forward(self, low: Tensor, high: Tensor, step: int) -> Tensor:
        """L1 in grey levels + weight * SKT."""
        for quantizer in self.quantizers():
            quantizer.momentum = self.ema_decay(step)
        pictures, skt = self.teacher(self.network, low)
        loss: Tensor = WHITE * output_loss(pictures, high) + self.config.attention_weight * skt
        return loss

    def ema_decay(self, step: int) -> float | None:
        """Weight of the present ``alpha`` in that after a step of the first epoch; None in later epochs."""
        if self.plan.epoch(step) > 0:
            return None
        return DECAY if step > 0 and self.config.first_epoch == "average" else 0.0

    def rates(self) -> Iterable[Rate]:
        """Rates of the network and of each ``alpha``."""
        yield from network_rates(self.network, self.config.learning_rate, self.config.most_change)
        for quantizer in self.quantizers():
            scale = float(quantizer.alpha.detach()) if self.config.rates == "relative" else 1.0
            yield Rate([quantizer.alpha], self.config.bound_rate * scale)

    def rate_factor(self, step: int) -> float:
        """Halved after every ``halve_every`` epochs."""
        return self.plan.halved(step, self.config.halve_every)

    def after_step(self, step: int) -> None:
        """Compute the bounds of weights again; in the first epoch set ``alpha`` from the batch."""
        refit_weight_grids(self.network, signed_max)
        for quantizer in self.quantizers():
            if self.plan.epoch(step) == 0:
                quantizer.use_observed()
            else:
                quantizer.keep_positive()

    def quantizers(self) -> list[PamsQuantizer]:
        """The activation quantizers, each once."""
        return list(modules_of(self.network, PamsQuantizer).values())

    def result(self) -> QuantizedModel:
        """The network with fixed bounds."""
        return deployable(self.network, self.policy, origin_of("pams", self.config))


def prepare(network: Network, crops: Sequence[Tensor], policy: Policy, config: PAMS, steps: int) -> PamsStudent:
    """Start with ``alpha`` of the first batch of crops; arguments as ``trained_registry.Prepare``."""
    require_tensor_grids("pams", policy)
    require_float_sums("pams", policy)
    policy = replace(policy, symmetric_weights=False)
    plan, first = resolve(network, policy), torch.tensor(FIRST_BOUND)
    student = insert_quantizers(network, plan, constant_bounds(plan, -first, first), signed_max)
    if config.addends:
        quantize_addends(student, plan)
    replace_activation_quantizers(student, lambda old: PamsQuantizer(first, old.bits))
    student = learns_weights(student)
    result = PamsStudent(student, network, policy, config, steps)
    start_alpha(result, crops[0])
    for quantizer in result.quantizers():
        quantizer.alpha.requires_grad_(True)
    return result


@torch.no_grad()
def start_alpha(student: PamsStudent, images: Tensor) -> None:
    """Set every ``alpha`` from a batch, ``N x 3 x H x W``, as the first epoch does."""
    for quantizer in student.quantizers():
        quantizer.momentum = 0.0
    student.network.eval()(images)
    student.network.train()
    for quantizer in student.quantizers():
        quantizer.use_observed()
