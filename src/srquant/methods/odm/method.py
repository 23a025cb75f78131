"""ODM (Overcoming Distribution Mismatch, Hong and Lee, ECCV 2024).

1. Activations: two learned bounds per tensor, which start at the mean over crops of the 1st and 99th percentile.
2. Weight clipping correction: weights are on a symmetric grid up to ``gamma_w * f(W)``, where ``f`` is the 99th
   percentile of the magnitudes of the present weights, and ``gamma_w`` is learned and starts at 1.
3. Cooperative mismatch regularization (section 3.2): the mismatch is ``L_M = sum_i ||X_i - q(X_i)||_2`` over quantized
   activations. Its gradient ``g_M`` is added to the gradient ``g_R`` of L1 between the network's pictures and the true
   ones, as far as both agree: ``g = g_R + lambda_M (cos(g_R, g_M) + 1)/2 g_M``, for each parameter tensor.
4. 60,000 iterations, learning rates halved after every 15,000; that of bounds is ten times that of weights.

==================  =========================================================
in the paper        here
==================  =========================================================
M_i, L_M            ``distances_to_grid_points``, ``mismatch``
L_R                 ``OdmStudent.forward``
sim, lambda_M       in ``cooperative_gradient``, ``mismatch_weight``
gamma_w             ``WeightClippingCorrection.gamma``
f(W)                ``WeightClippingCorrection.upper``
==================  =========================================================
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srquant.distillation.loop import Guards, Rate, bound_rates
from srquant.distillation.losses import WHITE, output_loss
from srquant.grids.mean_over_processes import mean_over_processes
from srquant.grids.range_rules import percentile
from srquant.insertion.collect_ranges import Collection, activation_bounds
from srquant.insertion.insert_quantizers import insert_quantizers
from srquant.insertion.plan import resolve
from srquant.insertion.policy import Policy
from srquant.insertion.quantized_model import QuantizedModel
from srquant.insertion.refit_weight_grids import refit_weight_grids, symmetric_percentile
from srquant.methods.options import option
from srquant.methods.ranges.pipeline import origin_of
from srquant.methods.settle_trained import deployable, learns_weights
from srquant.models.hooks import watch_outputs
from srquant.models.network import Network, modules_of
from srquant.quantizers.base import WeightQuantizer
from srquant.quantizers.layers import activation_quantizers, quant_layers
from srquant.training.learning_rates import MOST_CHANGE, network_rates
from srquant.training.student import Plan, Student

QUARTERS = 4
"""Parts of the run, after each of which the learning rates are halved: 15,000 published iterations each."""

SMALLEST_GAMMA = 1e-3


@dataclass(frozen=True)
class ODM:
    """Options of ``odm``."""

    learning_rate: float = option(1e-4, "of weights and biases", "section 4.1")
    most_change: float | None = option(None, MOST_CHANGE, "ours; none: as published")
    bound_factor: float = option(
        10.0, "learning rate of bounds and of gamma, relative to learning_rate", "section 4.1; gamma: ours"
    )
    rates: Literal["absolute", "relative"] = option(
        "absolute",
        "relative: the rate of bounds times each range, which networks in [0, 255] need",
        "section 4.1; ours",
    )
    share: float = option(
        0.01, "of values outside the first bounds, on each side; of weights outside theirs", "section 3.1"
    )
    mismatch_weight: float = option(1e-5, "lambda_M; RDN: 1e-6", "section 4.1")


class WeightClippingCorrection(WeightQuantizer):
    """A symmetric grid up to ``gamma * upper``, where ``gamma`` is learned.

    Args:
        upper: percentile of the weight's magnitudes, computed again after every step; 0-d or ``C_out x 1 ...``.
        bits: 2..8.
    """

    def __init__(self, upper: Tensor, bits: int) -> None:
        super().__init__(-upper, upper, bits, symmetric=True)
        self.upper.requires_grad_(False)
        self.gamma = nn.Parameter(torch.ones_like(upper))

    def grid(self) -> tuple[Tensor, Tensor]:
        """First and last grid point."""
        bound = self.gamma * self.upper
        return -bound, bound

    def learned_bound(self) -> None:
        """None: ``gamma`` is learned, not the bound."""

    def deployable(self, weight: Tensor) -> WeightQuantizer:
        """The present grid with fixed bounds."""
        return WeightQuantizer(*self.grid(), self.bits, symmetric=True)


@contextmanager
def distances_to_grid_points(network: Network) -> Iterator[list[Tensor]]:
    """Collect ``||X - q(X)||_2`` of activations, mean over samples: 0-d, one for each call of a quantizer."""
    distances: list[Tensor] = []

    def measure(_: str, inputs: tuple[Tensor, ...], points: Tensor) -> None:
        distances.append((inputs[0] - points).flatten(1).norm(dim=1).mean())

    with watch_outputs(activation_quantizers(network), measure):
        yield distances


def mismatch(distances: list[Tensor]) -> Tensor:
    """The mismatch, 0-d: the sum of what ``distances_to_grid_points`` collected."""
    return torch.stack(distances).sum()


class OdmStudent(Student):
    """A network with learned grids.

    Attributes:
        mismatch_gradients: those of the mismatch for the parameters of ``learned``, from the forward pass until the
            step.
    """

    earlier_names: ClassVar[Mapping[str, str]] = {"factor": "gamma"}

    def __init__(self, network: Network, policy: Policy, config: ODM, steps: int) -> None:
        super().__init__(network)
        self.policy, self.config = policy, config
        self.plan = Plan(steps, QUARTERS)
        self.guards = Guards(network)
        self.mismatch_gradients: tuple[Tensor | None, ...] = ()

    def forward(self, low: Tensor, high: Tensor, step: int) -> Tensor:
        """L1 in grey levels; the gradients of the mismatch are computed here, by a separate backward pass."""
        with distances_to_grid_points(self.network) as distances:
            loss = WHITE * output_loss(self.network(low), high)
        if torch.is_grad_enabled():
            total = mismatch(distances)
            self.mismatch_gradients = torch.autograd.grad(total, self.learned(), retain_graph=True, allow_unused=True)
        return loss

    def learned(self) -> list[nn.Parameter]:
        """All learned parameters, always in the same order."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def after_backward(self) -> None:
        """Cooperative mismatch regularization: add the gradients of the mismatch, weighted by their similarity."""
        for parameter, gradient in zip(self.learned(), self.mismatch_gradients, strict=True):
            if parameter.grad is not None and gradient is not None:
                mean = mean_over_processes(gradient)
                parameter.grad = cooperative_gradient(parameter.grad, mean, self.config.mismatch_weight)
        self.mismatch_gradients = ()

    def rates(self) -> Iterable[Rate]:
        """Rates of the network, of ``gamma``, and of each quantizer's bounds."""
        rate = self.config.learning_rate * self.config.bound_factor
        gammas = [quantizer.gamma for quantizer in corrected_quantizers(self.network)]
        quantizers = activation_quantizers(self.network).values()
        return [
            *network_rates(self.network, self.config.learning_rate, self.config.most_change),
            Rate(gammas, rate),
            *bound_rates(quantizers, rate, self.config.rates == "relative"),
        ]

    def rate_factor(self, step: int) -> float:
        """Halved after each quarter of the run."""
        return self.plan.halved(step, 1)

    def after_step(self, step: int) -> None:
        """Compute the percentiles of the weights again; keep ``gamma`` positive and upper bounds above lower ones."""
        refit_weight_grids(self.network, symmetric_percentile(self.config.share))
        for quantizer in corrected_quantizers(self.network):
            quantizer.gamma.data.clamp_(min=SMALLEST_GAMMA)
        self.guards()

    def result(self) -> QuantizedModel:
        """The network with fixed bounds."""
        return deployable(self.network, self.policy, origin_of("odm", self.config))


def cooperative_gradient(reconstruction: Tensor, mismatch: Tensor, weight: float) -> Tensor:
    """``g_R + weight * (cos(g_R, g_M) + 1)/2 * g_M`` of two gradients of the same shape."""
    similarity = F.cosine_similarity(reconstruction.flatten(), mismatch.flatten(), dim=0)
    return reconstruction + weight * (similarity + 1) / 2 * mismatch


def corrected_quantizers(network: Network) -> list[WeightClippingCorrection]:
    """The weight quantizers, in module order."""
    return list(modules_of(network, WeightClippingCorrection).values())


def prepare(network: Network, crops: Sequence[Tensor], policy: Policy, config: ODM, steps: int) -> OdmStudent:
    """Start with bounds that are percentiles of the crops; arguments as ``trained_registry.Prepare``."""
    policy = replace(policy, symmetric_weights=True)
    plan = resolve(network, policy)
    bounds = activation_bounds(network, plan, crops, Collection(percentile(config.share), "mean"))
    student = learns_weights(insert_quantizers(network, plan, bounds, symmetric_percentile(config.share)))
    for quantizer in activation_quantizers(student).values():
        quantizer.requires_grad_(True)
    for layer in quant_layers(student).values():
        layer.weight_quantizer = WeightClippingCorrection(layer.weight_quantizer.upper, layer.weight_quantizer.bits)
    return OdmStudent(student, policy, config, steps)
