"""How phi changes the gradients of the weights in one backward pass (QuantSR Fig. 3)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from srquant.analyse.result_files import Files, csv_file, png_file
from srquant.errors import PolicyError
from srquant.methods.quantsr.method import QuantSRStudent
from srquant.methods.quantsr.statistics import gradient_pairs
from srquant.report.charts import COLOURS

NAMES = ("gradients.csv", "gradients.png")

BINS = 81
PERCENTILES = (1.0, 25.0, 50.0, 75.0, 99.0)


@dataclass(frozen=True)
class GradientEffect:
    """Effect of phi on the gradient of one layer's weight.

    Attributes:
        relative: ``|g - g'| / |g'|``, ``g'`` with straight-through rounding.
        differences: ``(g - g') / rms(g')`` of each weight.
    """

    relative: float
    differences: NDArray[np.float64]


def measure_gradients(student: QuantSRStudent, low: Tensor, high: Tensor, step: int) -> dict[str, GradientEffect]:
    """One backward pass; the student's gradients are replaced, nothing else changes.

    Args:
        student: in training.
        low: crops, ``N x 3 x H x W`` in [0, 1].
        high: ``N x 3 x sH x sW`` in [0, 1].
        step: of the run, which decides the depths that count.

    Raises:
        PolicyError: the run has no redistribution, so that phi changes nothing.
    """
    if not student.config.redistribution:
        raise PolicyError("this run has redistribution=false, so phi changes no gradient: give a run with it")
    student.zero_grad()
    student(low, high, step).backward()
    return {name: _effect(*pair) for name, pair in gradient_pairs(student.network).items()}


def gradient_files(found: Mapping[str, GradientEffect]) -> Files:
    """Relative change and percentiles of each layer, and the distribution over all weights."""
    rows = [
        (name, effect.relative, *np.percentile(effect.differences, PERCENTILES).tolist())
        for name, effect in found.items()
    ]
    columns = ("layer", "relative_change", *(f"percentile_{share:g}" for share in PERCENTILES))
    return dict(zip(NAMES, (csv_file(columns, rows), png_file(_figure(found))), strict=True))


def _effect(gradient: Tensor, straight: Tensor) -> GradientEffect:
    g, without = (tensor.detach().double().cpu().flatten().numpy() for tensor in (gradient, straight))
    size = max(float(np.sqrt(np.mean(without**2))), np.finfo(float).tiny)
    difference = (g - without) / size
    return GradientEffect(float(np.sqrt(np.mean(difference**2))), difference)


def _figure(found: Mapping[str, GradientEffect]) -> Figure:
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    everything = np.concatenate([effect.differences for effect in found.values()])
    left.hist(everything, BINS, color=COLOURS[0], log=True)
    left.set_title("(g - g') / rms(g') of all weights", loc="left", fontsize=9)
    left.set_ylabel("weights", fontsize=8)
    right.bar(range(len(found)), [effect.relative for effect in found.values()], color=COLOURS[1])
    right.set_xticks(range(len(found)), list(found), rotation=90, fontsize=6)
    right.set_title("|g - g'| / |g'| of each layer", loc="left", fontsize=9)
    for axes in (left, right):
        axes.tick_params(axis="y", labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    left.tick_params(labelsize=7)
    return figure
