"""DAQ: channel-wise distribution-aware quantization (Hong et al., WACV 2022).

1. Activations: each channel of each sample is normalised to mean 0 and standard deviation 1, quantized with the uniform
   step that is best for a normal distribution, and denormalised (Eq. 3 to 5); the standard deviations are quantized
   too (section 3.3). An EDSR block has two quantizers, of the inputs of its convolutions; its skip connection stays
   float.
2. Weights: one symmetric grid per tensor, its step computed from the weight's standard deviation in every step.
3. Loss: L1 between the network's pictures and the true ones; gradients pass both quantizers unchanged.

At inference mean and standard deviation are computed for each channel of each picture.

======================  ===================================================================
in the paper            here
======================  ===================================================================
mu, sigma               the same in ``DAQQuantizer.grid``
step for N(0, 1)        ``quantizer.STEPS``, ``quantizer.unit_step``
step s                  ``s`` in ``DAQQuantizer``
qq bits (code)          ``spread_bits``: bits of sigma
======================  ===================================================================
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from srquant.distillation.loop import Rate
from srquant.distillation.losses import output_loss
from srquant.errors import PolicyError
from srquant.grids.range_rules import symmetric_max
from srquant.insertion.insert_quantizers import insert_quantizers
from srquant.insertion.plan import resolve
from srquant.insertion.policy import Policy
from srquant.insertion.quantized_model import QuantizedModel
from srquant.methods.daq.quantizer import DAQQuantizer, StdWeightQuantizer
from srquant.methods.options import option
from srquant.methods.ranges.pipeline import origin_of
from srquant.methods.settle_trained import constant_bounds, deployable, learns_weights
from srquant.models.hooks import watch_inputs
from srquant.models.network import Network
from srquant.quantizers.layers import quant_layers
from srquant.training.learning_rates import MOST_CHANGE, network_rates
from srquant.training.student import Plan, Student

EPOCHS = 300


@dataclass(frozen=True)
class DAQ:
    """Options of ``daq``."""

    daq_step: Literal["code", "table"] = option(
        "code",
        "steps of the grids: those of one bit less, as in the released code, or the paper's table for the bits",
        "DAQ code",
    )
    spread_bits: int = option(
        8, "bits of the channels' standard deviations, 2 to 8; 0 leaves them float", "section 3.3"
    )
    learning_rate: float = option(5e-5, "of weights and biases", "DAQ code")
    most_change: float | None = option(None, MOST_CHANGE, "ours; none: as published")
    halve_every: int = option(150, f"in epochs; a run of any length is divided into {EPOCHS}", "DAQ code")


class DAQStudent(Student):
    """A network with ``DAQQuantizer`` and ``StdWeightQuantizer`` modules."""

    def __init__(self, network: Network, policy: Policy, config: DAQ, steps: int) -> None:
        super().__init__(network)
        self.policy, self.config = policy, config
        self.plan = Plan(steps, EPOCHS)

    def forward(self, low: Tensor, high: Tensor, step: int) -> Tensor:
        """Mean absolute difference from the true pictures."""
        return output_loss(self.network(low), high)

    def rates(self) -> Iterable[Rate]:
        """Rates of weights and biases; quantizers learn nothing."""
        return network_rates(self.network, self.config.learning_rate, self.config.most_change)

    def rate_factor(self, step: int) -> float:
        """Halved after every ``halve_every`` epochs."""
        return self.plan.halved(step, self.config.halve_every)

    def result(self) -> QuantizedModel:
        """The network with static weight grids; the grids of activations still depend on the picture."""
        return deployable(self.network, self.policy, origin_of("daq", self.config))


def prepare(network: Network, crops: Sequence[Tensor], policy: Policy, config: DAQ, steps: int) -> DAQStudent:
    """Insert ``DAQQuantizer`` modules before all quantized layers; arguments as ``trained_registry.Prepare``."""
    check(policy, config)
    plan, unit = resolve(network, policy), torch.ones(())
    student = insert_quantizers(network, plan, constant_bounds(plan, -unit, unit), symmetric_max)
    rectified = rectified_layers(network, list(quant_layers(student)), crops)
    for name, layer in quant_layers(student).items():
        bits, axis = layer.input_quantizer.bits, layer.channel_axis
        layer.input_quantizer = DAQQuantizer(bits, name in rectified, config.daq_step, config.spread_bits, axis)
        layer.weight_quantizer = StdWeightQuantizer(layer.weight_quantizer.bits, config.daq_step)
    return DAQStudent(learns_weights(student), policy, config, steps)


def check(policy: Policy, config: DAQ) -> None:
    """Raise a ``PolicyError`` if more than inputs of layers is to be quantized, or the grids don't fit the method."""
    if policy.skip_bits is not None or "matmul" in policy.kinds:
        raise PolicyError("daq quantizes inputs of layers: leave sums and matrix products float")
    if (policy.granularity, policy.activation_granularity) != ("tensor", "tensor"):
        raise PolicyError("daq has its own grids per channel of activations and one per weight: use granularity tensor")
    if config.spread_bits not in (0, *range(2, 9)):
        raise PolicyError(f"spread_bits is {config.spread_bits}: use 2 to 8, or 0 for float standard deviations")


@torch.no_grad()
def rectified_layers(network: Network, names: Sequence[str], crops: Sequence[Tensor]) -> set[str]:
    """Layers that read the output of a ReLU: on all crops the smallest value is exactly zero."""
    smallest = dict.fromkeys(names, torch.tensor(torch.inf))

    def see(name: str, inputs: tuple[Tensor, ...]) -> None:
        smallest[name] = torch.minimum(smallest[name], inputs[0].amin().cpu())

    network.eval()
    with watch_inputs({name: network.module.get_submodule(name) for name in names}, see):
        for crop in crops:
            network(crop)
    return {name for name, value in smallest.items() if float(value) == 0.0}
