"""DoReFa (Zhou et al. 2016) for super-resolution.

1. Weights: ``tanh(W) / max|tanh(W)| * max|W|`` on a symmetric grid of ``2^b`` points; both maxima are found anew in
   every step.
2. Activations: a symmetric grid around a zero whose bound is the running mean of largest magnitudes; nothing of it is
   learned.
3. L1 against the true pictures; straight-through gradients.

The paper clips activations to [0, 1] and keeps weights in [-1, 1]. Activations of super-resolution networks have signs
and no bounds, and their weights a scale: that grids follow largest magnitudes is our reading.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from srquant.distillation.loop import Rate
from srquant.distillation.losses import output_loss
from srquant.grids.range_rules import symmetric_max
from srquant.insertion.collect_ranges import Collection, activation_bounds
from srquant.insertion.insert_quantizers import insert_quantizers
from srquant.insertion.plan import resolve
from srquant.insertion.policy import Policy
from srquant.insertion.quantized_model import QuantizedModel
from srquant.insertion.refit_weight_grids import refit_weight_grids
from srquant.insertion.replace_quantizers import replace_activation_quantizers
from srquant.methods.options import option
from srquant.methods.ranges.pipeline import origin_of
from srquant.methods.settle_trained import deployable, learns_weights, require_tensor_grids
from srquant.models.network import Network
from srquant.quantizers.base import ActivationQuantizer, InputQuantizer, WeightQuantizer
from srquant.quantizers.layers import activation_quantizers, quant_layers
from srquant.quantizers.symmetric import SymmetricQuantizer
from srquant.training.learning_rates import MOST_CHANGE, network_rates
from srquant.training.student import Plan, Student

EPOCHS = 30


@dataclass(frozen=True)
class DoReFa:
    """Options of ``dorefa``."""

    learning_rate: float = option(1e-4, "of weights and biases", "PAMS")
    most_change: float | None = option(None, MOST_CHANGE, "ours; none: as published")
    halve_every: int = option(10, f"epochs of {EPOCHS}; epochs are shares of the run", "PAMS")
    momentum: float = option(0.9, "weight of earlier batches in the running mean of largest magnitudes", "ours", most=1)


class TanhWeightQuantizer(WeightQuantizer):
    """A symmetric grid for weights that a tanh draws together."""

    def forward(self, weight: Tensor, bits: Tensor | None = None) -> Tensor:
        """Values to grid points, shape of the weight."""
        return super().forward(drawn_together(weight, self.upper), bits)

    def learned_bound(self) -> None:
        """None: the points depend on the tanh of the weight as well."""

    def deployable(self, weight: Tensor) -> WeightQuantizer:
        """The grid without the tanh, which the trained weight has taken in."""
        return WeightQuantizer(-self.upper, self.upper, self.bits, symmetric=True)


def drawn_together(weight: Tensor, largest: Tensor) -> Tensor:
    """``tanh(W)``, scaled to a largest magnitude.

    Args:
        weight: ``C_out x ...``.
        largest: 0-d or ``C_out x 1 ...``, no gradient flows to it.
    """
    bent = weight.tanh()
    peaks = bent.detach().abs()
    peak = peaks.max() if largest.dim() == 0 else peaks.flatten(1).amax(1).reshape(largest.shape)
    return bent * (largest.detach() / peak)


class DoReFaStudent(Student):
    """A network on ``SymmetricQuantizer`` and ``TanhWeightQuantizer`` grids."""

    def __init__(self, network: Network, policy: Policy, config: DoReFa, steps: int) -> None:
        super().__init__(network)
        self.policy, self.config = policy, config
        self.plan = Plan(steps, EPOCHS)

    def forward(self, low: Tensor, high: Tensor, step: int) -> Tensor:
        """Mean absolute difference from the true pictures."""
        return output_loss(self.network(low), high)

    def rates(self) -> Iterable[Rate]:
        """One rate for all that is no grid's."""
        return network_rates(self.network, self.config.learning_rate, self.config.most_change)

    def rate_factor(self, step: int) -> float:
        """Halved as the config says."""
        return self.plan.halved(step, self.config.halve_every)

    def after_step(self, step: int) -> None:
        """Bounds follow the weights and what activations were."""
        refit_weight_grids(self.network, symmetric_max)
        for quantizer in activation_quantizers(self.network).values():
            assert isinstance(quantizer, SymmetricQuantizer)  # ``prepare`` put no others there
            quantizer.use_observed()

    def result(self) -> QuantizedModel:
        """On plain grids, the tanh in the weights."""
        return deployable(self.network, self.policy, origin_of("dorefa", self.config))


def observing(quantizer: InputQuantizer, momentum: float) -> SymmetricQuantizer:
    """The grid in training, from a plain one of the same bounds."""
    assert isinstance(quantizer, ActivationQuantizer)  # fresh from insertion, where all have bounds
    return SymmetricQuantizer(quantizer.upper, quantizer.bits, momentum=momentum)


def prepare(network: Network, crops: Sequence[Tensor], policy: Policy, config: DoReFa, steps: int) -> DoReFaStudent:
    """Bounds of the crops to start with; arguments as ``trained_registry.Prepare``."""
    require_tensor_grids("dorefa", policy)
    policy = replace(policy, symmetric_weights=True)
    plan = resolve(network, policy)
    bounds = activation_bounds(network, plan, crops, Collection(symmetric_max, config.momentum))
    student = insert_quantizers(network, plan, bounds, symmetric_max)
    for layer in quant_layers(student).values():
        upper, bits = layer.weight_quantizer.upper, layer.weight_quantizer.bits
        layer.weight_quantizer = TanhWeightQuantizer(-upper, upper, bits, symmetric=True)
    replace_activation_quantizers(student, lambda old: observing(old, config.momentum))
    return DoReFaStudent(learns_weights(student), policy, config, steps)
