"""How much learning: steps and crops of each effort, and how long it will take."""

import copy
import time
from dataclasses import dataclass
from typing import Literal

import torch

from srquant.distillation.lessons import in_layout
from srquant.models.network import Network, device_of

Effort = Literal["quick", "normal", "long"]


@dataclass(frozen=True)
class Amount:
    """An amount of learning.

    Attributes:
        steps: of the optimizer.
        batch: crops per step.
    """

    steps: int
    batch: int


EFFORTS: dict[Effort, Amount] = {
    "quick": Amount(150, 4),
    "normal": Amount(750, 4),
    "long": Amount(3000, 16),
}

EFFORT = "how long to learn: " + ", ".join(f"{name} {a.steps} steps of {a.batch} crops" for name, a in EFFORTS.items())
"""Help text."""

QUANTIZED_OVER_FLOAT = 1.3
"""Time of a step of the quantized network over that of the float network, at most."""

START_CROPS = 240
"""A start, which is the search for ranges and the rounding, takes about as long as steps of so many crops together."""


def estimated_seconds(network: Network, amount: Amount, patch: int, different: float, starts: int) -> float:
    """Seconds that start and learning will take, from the time of one step of the float network.

    Args:
        network: float.
        amount: of learning.
        patch: side of the crops.
        different: share of the steps for whose crops the float network has to run, a third of a step each.
        starts: number of starts that are compared.
    """
    steps = starts * START_CROPS / amount.batch + amount.steps * (QUANTIZED_OVER_FLOAT + different / 3)
    return steps * float_step_seconds(network, amount.batch, patch)


@torch.enable_grad()
def float_step_seconds(network: Network, batch: int, patch: int) -> float:
    """Seconds of one step of the float network: the second one, since the first is slower."""
    copied = copy.deepcopy(network).requires_grad_(True)
    images = torch.rand(batch, 3, patch, patch, device=device_of(network))
    for _ in range(2):
        start = time.perf_counter()
        copied(in_layout(images)).mean().backward()
        float(next(copied.parameters()).sum().detach())  # waits for the device
        seconds = time.perf_counter() - start
    return seconds
