"""Layers that stay float because the picture needs them: found by measurement on calibration crops.

In most networks 8 bits are enough everywhere. In some, a few layers make most of the error: a 1x1 convolution that
reads features of very different sizes, or the one before a gate. Each layer is made float alone; those that gain most
for their multiplications stay float, one after the other, until the error is small enough. A layer has to be worth the
time that it takes.
"""

import copy
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from glob import escape

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from srquant.distillation.lessons import Lesson, in_layout
from srquant.insertion.policy import Override, Policy
from srquant.methods.distill.held_out import error
from srquant.models.hooks import watch_outputs
from srquant.models.network import Network
from srquant.quantizers.layers import quant_layers

SMALL_ERROR = 10 ** (-51 / 10)
"""Mean squared error of a picture in [0, 1] that is small enough at scale 4: 51 dB from the float network's, 0.7 grey
levels. Such an error, independent of the float network's own and equal in all colours, costs 0.04 dB where that network
has a Y-PSNR of 32 dB; less than half of it where the colours err independently. The true picture, which would tell,
isn't known while a network is quantized."""

PER_OCTAVE = 10 ** (-4.6 / 10)
"""Halving the scale lowers a network's own error, by 4.6 to 6 dB from x4 to x2 on Set5, so that smaller ones show."""

LEAST_GAIN = 0.03
"""Smallest part of the error that a layer has to save; smaller gains don't hold on other pictures."""

WORTH = 2.0
"""A layer's part of the error has to be so many times its part of the multiplications, at least."""


def keep_sensitive(student: Network, network: Network, lessons: Iterable[Lesson]) -> list[str]:
    """Put float layers in the places of sensitive ones, in place; the last quantized layer of the body stays.

    Args:
        student: quantized, not settled.
        network: the float network, left unchanged.
        lessons: crops with the float network's pictures, which the student hasn't learned from.

    Returns:
        Names of the layers, those that gain most for their multiplications first.
    """
    present, kept, small = squared_error(student, lessons), list[str](), small_error(network.facts.scale)
    if present <= small:
        return kept
    costs = shares_of_multiplications(student, lessons)
    for name in by_gain_for_cost(student, network, lessons, present, costs):
        if present <= small or name in last_inside(student):
            continue
        found = error_with_float(student, network, name, lessons)
        if 1 - found / present >= max(LEAST_GAIN, WORTH * costs[name]):
            make_float(student, network, name)
            kept.append(name)
            present = found
    return kept


def small_error(scale: int) -> float:
    """Mean squared error that is small enough for a network that enlarges by ``scale``, in [0, 1] squared."""
    octaves = 2 - math.log2(max(scale, 2))
    return float(SMALL_ERROR * PER_OCTAVE**octaves)


def keeping(policy: Policy, names: Iterable[str]) -> Policy:
    """The policy that keeps these layers float too."""
    return replace(policy, overrides=(*policy.overrides, *(Override(escape(name), None) for name in names)))


def by_gain_for_cost(
    student: Network, network: Network, lessons: Iterable[Lesson], present: float, costs: Mapping[str, float]
) -> list[str]:
    """Names of the quantized layers, first the one whose float form saves most of the error for its cost."""
    errors = {name: error_with_float(student, network, name, lessons) for name in quant_layers(student)}
    return sorted(errors, key=lambda name: (errors[name] - present) / costs[name])


def last_inside(student: Network) -> set[str]:
    """The quantized layer between head and tail, if there is only one: a network without any is refused."""
    inside = quant_layers(student).keys() - student.facts.ends
    return inside if len(inside) == 1 else set()


def error_with_float(student: Network, network: Network, name: str, lessons: Iterable[Lesson]) -> float:
    """``squared_error`` of the student with one float layer; the student stays as it is."""
    quantized = student.module.get_submodule(name)
    make_float(student, network, name)
    found = squared_error(student, lessons)
    student.module.set_submodule(name, quantized)
    return found


def make_float(student: Network, network: Network, name: str) -> None:
    """Put a copy of a layer of the float network in its place, in place."""
    student.module.set_submodule(name, copy.deepcopy(network.module.get_submodule(name)))


def squared_error(student: Network, lessons: Iterable[Lesson]) -> float:
    """Mean squared difference from the float network's pictures, in [0, 1] squared; infinite if it isn't finite."""
    return error(student, lessons, mse_loss)


@torch.no_grad()
def shares_of_multiplications(student: Network, lessons: Iterable[Lesson]) -> dict[str, float]:
    """Share that each quantized layer has in the multiplications of all of them, for the crops of the first lesson."""
    layers, counts = quant_layers(student), Counter[str]()

    def count(name: str, _: tuple[Tensor, ...], output: Tensor) -> None:
        counts[name] += output.numel() * layers[name].weight[0].numel()

    with watch_outputs(layers, count):
        student(in_layout(next(iter(lessons)).images))
    return {name: max(counts[name], 1) / counts.total() for name in layers}
