"""ODM (Overcoming Distribution Mismatch, Hong and Lee, ECCV 2024).

1. Activations: two learned bounds per tensor, at first the 1st and 99th percentile, mean over crops.
2. Weights: a symmetric grid up to ``gamma * f(W)``, ``f`` the 99th percentile of magnitudes of the present weights,
   ``gamma`` learned, at first 1.
3. Mismatch ``M = sum_i ||X_i - q(X_i)||_2`` over layers; its gradient joins that of L1 against the true pictures where
   they agree (section 3.2): ``g = g_R + lambda_M (cos(g_R, g_M) + 1)/2 g_M``, for each parameter tensor.
4. 60,000 iterations, the rate halved after every 15,000; bounds learn ten times as fast as weights.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

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
from srquant.models.network import Network
from srquant.quantizers.base import WeightQuantizer
from srquant.quantizers.layers import activation_quantizers, quant_layers
from srquant.training.learning_rates import MOST_CHANGE, network_rates
from srquant.training.student import Plan, Student

QUARTERS = 4
"""The published run has four parts of 15,000 iterations."""

SMALLEST_FACTOR = 1e-3


@dataclass(frozen=True)
class ODM:
    """Options of ``odm``."""

    learning_rate: float = option(1e-4, "of weights and biases", "section 4.1")
    most_change: float | None = option(None, MOST_CHANGE, "ours; none: as published")
    bound_factor: float = option(10.0, "times it, the rate of bounds and of gamma", "section 4.1; gamma: ours")
    rates: Literal["absolute", "relative"] = option(
        "absolute", "relative: bounds' rate times each range, which networks in [0, 255] need", "section 4.1; ours"
    )
    share: float = option(
        0.01, "of values outside first bounds, on each side; of weights outside theirs", "section 3.1"
    )
    mismatch_weight: float = option(1e-5, "lambda_M; RDN: 1e-6", "section 4.1")


class FactorQuantizer(WeightQuantizer):
    """A symmetric grid up to ``factor * upper``; the factor is learned, ``upper`` follows the weights.

    Args:
        upper: 0-d or ``C_out x 1 ...``.
        bits: 2..8.
    """

    def __init__(self, upper: Tensor, bits: int) -> None:
        super().__init__(-upper, upper, bits, symmetric=True)
        self.upper.requires_grad_(False)
        self.factor = nn.Parameter(torch.ones_like(upper))

    def grid(self) -> tuple[Tensor, Tensor]:
        """First and last grid point."""
        bound = self.factor * self.upper
        return -bound, bound

    def learned_bound(self) -> None:
        """None: the factor learns, not the bound."""

    def deployable(self, weight: Tensor) -> WeightQuantizer:
        """The grid as it is now, its factor multiplied in."""
        return WeightQuantizer(*self.grid(), self.bits, symmetric=True)


@contextmanager
def distances_to_grids(network: Network) -> Iterator[list[Tensor]]:
    """Note the L2 distance of activations from their grid points, mean over samples: 0-d, one per quantizer called."""
    distances: list[Tensor] = []

    def measure(_: str, inputs: tuple[Tensor, ...], points: Tensor) -> None:
        distances.append((inputs[0] - points).flatten(1).norm(dim=1).mean())

    with watch_outputs(activation_quantizers(network), measure):
        yield distances


def mismatch(distances: list[Tensor]) -> Tensor:
    """Sum of what ``distances_to_grids`` noted, 0-d."""
    return torch.stack(distances).sum()


class OdmStudent(Student):
    """A network on learned grids, and the gradient of its mismatch between a forward pass and the step."""

    def __init__(self, network: Network, policy: Policy, config: ODM, steps: int) -> None:
        super().__init__(network)
        self.policy, self.config = policy, config
        self.plan = Plan(steps, QUARTERS)
        self.guards = Guards(network)
        self.mismatch: tuple[Tensor | None, ...] = ()

    def forward(self, low: Tensor, high: Tensor, step: int) -> Tensor:
        """L1 in grey levels; the mismatch has a backward pass of its own."""
        with distances_to_grids(self.network) as distances:
            loss = WHITE * output_loss(self.network(low), high)
        if torch.is_grad_enabled():
            total = mismatch(distances)
            self.mismatch = torch.autograd.grad(total, self.learned(), retain_graph=True, allow_unused=True)
        return loss

    def learned(self) -> list[nn.Parameter]:
        """All parameters that learn, always in the same order."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def after_backward(self) -> None:
        """Add the gradient of the mismatch, weighted by how well it agrees."""
        for parameter, gradient in zip(self.learned(), self.mismatch, strict=True):
            if parameter.grad is not None and gradient is not None:
                mean = mean_over_processes(gradient)
                parameter.grad = cooperative(parameter.grad, mean, self.config.mismatch_weight)
        self.mismatch = ()

    def rates(self) -> Iterable[Rate]:
        """Rates of the network, of gamma, and of each quantizer's bounds."""
        rate = self.config.learning_rate * self.config.bound_factor
        factors = [quantizer.factor for quantizer in factor_quantizers(self.network)]
        quantizers = activation_quantizers(self.network).values()
        return [
            *network_rates(self.network, self.config.learning_rate, self.config.most_change),
            Rate(factors, rate),
            *bound_rates(quantizers, rate, self.config.rates == "relative"),
        ]

    def rate_factor(self, step: int) -> float:
        """Halved in each quarter."""
        return self.plan.halved(step, 1)

    def after_step(self, step: int) -> None:
        """Percentiles follow the weights; bounds stay apart."""
        refit_weight_grids(self.network, symmetric_percentile(self.config.share))
        for quantizer in factor_quantizers(self.network):
            quantizer.factor.data.clamp_(min=SMALLEST_FACTOR)
        self.guards()

    def result(self) -> QuantizedModel:
        """On plain grids."""
        return deployable(self.network, self.policy, origin_of("odm", self.config))


def cooperative(reconstruction: Tensor, mismatch: Tensor, weight: float) -> Tensor:
    """``g_R + weight * (cos(g_R, g_M) + 1)/2 * g_M`` of two gradients of one shape."""
    similarity = F.cosine_similarity(reconstruction.flatten(), mismatch.flatten(), dim=0)
    return reconstruction + weight * (similarity + 1) / 2 * mismatch


def factor_quantizers(network: Network) -> list[FactorQuantizer]:
    """Those of all weights, in module order."""
    quantizers = (layer.weight_quantizer for layer in quant_layers(network).values())
    return [quantizer for quantizer in quantizers if isinstance(quantizer, FactorQuantizer)]


def prepare(network: Network, crops: Sequence[Tensor], policy: Policy, config: ODM, steps: int) -> OdmStudent:
    """Percentiles of the crops to start with; arguments as ``trained_registry.Prepare``."""
    policy = replace(policy, symmetric_weights=True)
    plan = resolve(network, policy)
    bounds = activation_bounds(network, plan, crops, Collection(percentile(config.share), "mean"))
    student = learns_weights(insert_quantizers(network, plan, bounds, symmetric_percentile(config.share)))
    for quantizer in activation_quantizers(student).values():
        quantizer.requires_grad_(True)
    for layer in quant_layers(student).values():
        layer.weight_quantizer = FactorQuantizer(layer.weight_quantizer.upper, layer.weight_quantizer.bits)
    return OdmStudent(student, policy, config, steps)
