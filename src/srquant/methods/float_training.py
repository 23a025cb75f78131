"""Training of float networks, as the papers train their backbones (EDSR, Lim et al. 2017).

1. Loss: L1 between the network's pictures and the true ones.
2. Adam; the learning rate is halved after two thirds of the run.
"""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from srquant.distillation.loop import Rate
from srquant.distillation.losses import output_loss
from srquant.insertion.policy import Policy
from srquant.methods.options import option
from srquant.models.network import Network
from srquant.training.student import Plan, Student

EPOCHS = 300


@dataclass(frozen=True)
class FloatTraining:
    """Options of ``float``."""

    learning_rate: float = option(1e-4, "of all weights", "EDSR")
    halve_every: int = option(200, f"in epochs; a run of any length is divided into {EPOCHS}", "EDSR")


class FloatStudent(Student):
    """The float network and its training."""

    find_unused_parameters = False

    def __init__(self, network: Network, config: FloatTraining, steps: int) -> None:
        super().__init__(network)
        self.config = config
        self.plan = Plan(steps, EPOCHS)

    def forward(self, low: Tensor, high: Tensor, step: int) -> Tensor:
        """Mean absolute difference from the true pictures, 0-d."""
        return output_loss(self.network(low), high)

    def rates(self) -> Iterable[Rate]:
        """One rate for all weights."""
        return [Rate(list(self.network.parameters()), self.config.learning_rate)]

    def rate_factor(self, step: int) -> float:
        """Halved after every ``halve_every`` epochs."""
        return self.plan.halved(step, self.config.halve_every)

    def result(self) -> Network:
        """The trained float network."""
        return self.network


def prepare(
    network: Network, crops: Sequence[Tensor], policy: Policy, config: FloatTraining, steps: int
) -> FloatStudent:
    """A copy of the network whose weights are all trained; arguments as ``trained_registry.Prepare``."""
    student = copy.deepcopy(network).train().requires_grad_(True)
    return FloatStudent(student, config, steps)
