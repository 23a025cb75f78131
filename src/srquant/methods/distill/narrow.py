"""Narrower activation ranges, where the network's picture gains from them.

The smallest squared error of a layer's input keeps its rare large values. In some networks these are fifty times as
large as most values: in SRResNet values up to 300 have a root mean square of 5. The picture depends on the small ones,
so even 8 bits are too few for the whole range. Learning moves bounds too slowly to find that.
"""

from collections.abc import Iterable

import torch

from srquant.distillation.lessons import Lesson
from srquant.methods.distill.held_out import error
from srquant.models.network import Network
from srquant.quantizers.base import ActivationQuantizer
from srquant.quantizers.layers import activation_quantizers

HALF = 0.5
"""Factor of one narrowing."""

GAIN = 0.005
"""Smallest part of the error that a narrowing has to save; smaller gains don't hold on other pictures."""


@torch.no_grad()
def narrow_ranges(student: Network, lessons: Iterable[Lesson]) -> None:
    """Halve activation bounds, one quantizer after the other and in place, as often as that lowers the error.

    Args:
        student: quantized, not settled. The ranges of its first layers, which read the picture, stay.
        lessons: crops with the float network's pictures.
    """
    present = error(student, lessons)
    for name, quantizer in activation_quantizers(student).items():
        if name not in student.facts.head:
            present = _narrow(student, quantizer, lessons, present)


def _narrow(student: Network, quantizer: ActivationQuantizer, lessons: Iterable[Lesson], present: float) -> float:
    """Narrow one quantizer; returns the error after it."""
    while True:
        bounds = quantizer.lower.clone(), quantizer.upper.clone()
        quantizer.lower.mul_(HALF)
        quantizer.upper.mul_(HALF)
        found = error(student, lessons)
        if not found < present * (1 - GAIN):
            quantizer.lower.copy_(bounds[0])
            quantizer.upper.copy_(bounds[1])
            return present
        present = found
