"""How weights and activations are distributed, and where the bounds of several methods cut them.

As in 2DQuant Figs. 4, 5 and 7 to 11, and outlier-aware Fig. 3.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from srquant.analyse.grid_bounds import GridBounds
from srquant.analyse.result_files import Cell, Files, csv_file, json_file, png_file
from srquant.models.hooks import watch_inputs
from srquant.models.network import Network, on_device_of
from srquant.report.charts import COLOURS

NAMES = ("percentiles.csv", "distributions.json", "distributions.png", "percentiles.png", "pictures.png")

BINS = 120

COMPARED = 3
"""Pictures whose activations are drawn beside each other."""

SLACK = 0.01
"""Values less than this share of a grid's width beyond a bound count as inside: bounds that were meant to be at zero,
where most values after a ReLU are, move by less when grids are settled."""

Group = tuple[Mapping[str, GridBounds], ...]
"""Bounds by layer, one mapping per quantized file."""


@dataclass(frozen=True)
class Histogram:
    """Counts of the values of a layer's weight or input.

    Attributes:
        counts: ``BINS`` of equal width from ``smallest`` to ``largest``.
        smallest: value.
        largest: value.
        skewness: third standardised moment, 0 for a symmetric distribution.
    """

    counts: NDArray[np.int64]
    smallest: float
    largest: float
    skewness: float


@dataclass(frozen=True)
class Cut:
    """Where one file's bounds lie in a layer.

    Attributes:
        lower: outermost lower bound.
        upper: outermost upper bound.
        below: share of the values below their lower bound, by more than ``SLACK``, 0 to 1.
        above: share of the values above their upper bound.
    """

    lower: float
    upper: float
    below: float
    above: float


@dataclass(frozen=True)
class Distributions:
    """Values and bounds of every layer.

    Attributes:
        labels: of the quantized files.
        weights: by layer.
        activations: by layer.
        weight_cuts: by layer, one for each file; None where a file has no such bounds.
        activation_cuts: the same for inputs; None also where ranges follow the picture.
        by_picture: activations of the layers that are drawn, in each of the first pictures.
    """

    labels: Sequence[str]
    weights: Mapping[str, Histogram]
    activations: Mapping[str, Histogram]
    weight_cuts: Mapping[str, Sequence[Cut | None]]
    activation_cuts: Mapping[str, Sequence[Cut | None]]
    by_picture: Mapping[str, Sequence[Histogram]]


def measure_distributions(
    network: Network,
    layers: Sequence[str],
    drawn: Sequence[str],
    pictures: Sequence[Tensor],
    labels: Sequence[str],
    bounds: tuple[Group, Group],
) -> Distributions:
    """Histograms of the float network's weights and inputs, and what the bounds cut off.

    Args:
        network: float.
        layers: convolutions and linear layers in it.
        drawn: those of them that figures show.
        pictures: ``N x 3 x H x W`` in [0, 1]; the network runs twice on each, on the first ones once more.
        labels: of the quantized files.
        bounds: of their weights, and of their activations.
    """
    weights = {name: network.module.get_parameter(f"{name}.weight").detach() for name in layers}
    of_weights, of_activations = bounds
    histograms, cuts = _activations(network.eval(), layers, pictures, of_activations)
    return Distributions(
        labels,
        {name: _histogram([weight]) for name, weight in weights.items()},
        histograms,
        {name: [_cut([weight], file.get(name)) for file in of_weights] for name, weight in weights.items()},
        cuts,
        _by_picture(network, drawn, pictures[:COMPARED]),
    )


def distribution_files(found: Distributions) -> Files:
    """Percentiles of all bounds, the ranges of all layers, and figures of both."""
    columns = ("layer", "values", "file", "lower", "upper", "lower_percentile", "upper_percentile")
    ranges: dict[str, object] = {
        what: {name: _summary(histogram) for name, histogram in histograms.items()}
        for what, histograms in (("weights", found.weights), ("activations", found.activations))
    }
    ranges["activations_by_picture"] = {name: list(map(_summary, of)) for name, of in found.by_picture.items()}
    contents = (
        csv_file(columns, _rows(found)),
        json_file(ranges),
        png_file(_histograms(found)),
        png_file(_percentiles(found)),
        png_file(_pictures(found)),
    )
    return dict(zip(NAMES, contents, strict=True))


def _summary(histogram: Histogram) -> dict[str, float]:
    return {"smallest": histogram.smallest, "largest": histogram.largest, "skewness": histogram.skewness}


def _rows(found: Distributions) -> Iterable[Sequence[Cell]]:
    for what, of_layers in (("weights", found.weight_cuts), ("activations", found.activation_cuts)):
        for name, cuts in of_layers.items():
            for label, cut in zip(found.labels, cuts, strict=True):
                if cut is None:
                    yield name, what, label, None, None, None, None
                else:
                    yield name, what, label, cut.lower, cut.upper, 100 * cut.below, 100 * (1 - cut.above)


class _Counter:
    """Counts values of one layer over several batches: moments first, then bins and what bounds cut off."""

    def __init__(self, bounds: Sequence[GridBounds | None]) -> None:
        self.bounds = bounds
        self.sums = torch.zeros(4, dtype=torch.float64)
        self.smallest, self.largest = float("inf"), -float("inf")
        self.counts = torch.zeros(BINS, dtype=torch.float64)
        self.outside = [torch.zeros(2, dtype=torch.float64) for _ in bounds]

    def see(self, values: Tensor) -> None:
        """Range and moments."""
        precise = values.detach().cpu().double()
        self.sums += torch.stack([precise.pow(power).sum() for power in range(4)])
        self.smallest = min(self.smallest, float(precise.min()))
        self.largest = max(self.largest, float(precise.max()))

    def count(self, values: Tensor) -> None:
        """Bins, and values outside of bounds; all values were seen before."""
        values = values.detach().cpu()
        self.counts += torch.histc(values.float(), BINS, self.smallest, self.largest)
        for outside, bounds in zip(self.outside, self.bounds, strict=True):
            if bounds is not None:
                slack = SLACK * (bounds.upper - bounds.lower)
                below, above = values < bounds.lower - slack, values > bounds.upper + slack
                outside += torch.stack([below.sum(), above.sum()])

    def histogram(self) -> Histogram:
        """Of all values."""
        count, mean, second, third = (float(value) for value in self.sums)
        mean, second, third = mean / count, second / count, third / count
        variance = max(second - mean**2, 0.0)
        skewness = (third - 3 * mean * variance - mean**3) / variance**1.5 if variance > 0 else 0.0
        return Histogram(self.counts.long().numpy(), self.smallest, self.largest, skewness)

    def cuts(self) -> list[Cut | None]:
        """What the bounds of each file cut off."""
        count = float(self.sums[0])
        return [
            None if bounds is None else Cut(*bounds.outermost(), *(outside / count).tolist())
            for bounds, outside in zip(self.bounds, self.outside, strict=True)
        ]


@torch.no_grad()
def _activations(
    network: Network, layers: Sequence[str], pictures: Sequence[Tensor], bounds: Group
) -> tuple[dict[str, Histogram], dict[str, list[Cut | None]]]:
    """One run over the pictures for ranges, one for counts, so that no activation is kept."""
    counters = {name: _Counter([file.get(name) for file in bounds]) for name in layers}
    modules = {name: network.module.get_submodule(name) for name in layers}
    with watch_inputs(modules, lambda name, inputs: counters[name].see(inputs[0])):
        for picture in on_device_of(network, pictures):
            network(picture)
    with watch_inputs(modules, lambda name, inputs: counters[name].count(inputs[0])):
        for picture in on_device_of(network, pictures):
            network(picture)
    return (
        {name: counter.histogram() for name, counter in counters.items()},
        {name: counter.cuts() for name, counter in counters.items()},
    )


@torch.no_grad()
def _by_picture(network: Network, layers: Sequence[str], pictures: Sequence[Tensor]) -> dict[str, list[Histogram]]:
    found: dict[str, list[Histogram]] = {name: [] for name in layers}
    modules = {name: network.module.get_submodule(name) for name in layers}
    with watch_inputs(modules, lambda name, inputs: found[name].append(_histogram([inputs[0]]))):
        for picture in on_device_of(network, pictures):
            network(picture)
    return found


def _counted(values: Sequence[Tensor], bounds: Sequence[GridBounds | None]) -> _Counter:
    counter = _Counter(bounds)
    for tensor in values:
        counter.see(tensor)
    for tensor in values:
        counter.count(tensor)
    return counter


def _histogram(values: Sequence[Tensor]) -> Histogram:
    return _counted(values, []).histogram()


def _cut(values: Sequence[Tensor], bounds: GridBounds | None) -> Cut | None:
    return _counted(values, [bounds]).cuts()[0]


def _pictures(found: Distributions) -> Figure:
    """A row per layer, a column per picture, all of a row over one axis."""
    figure = Figure(figsize=(11, 1.7 * len(found.by_picture) + 0.4), layout="constrained")
    axes = figure.subplots(len(found.by_picture), COMPARED, squeeze=False, sharex="row", sharey="row")
    for row, (name, histograms) in enumerate(found.by_picture.items()):
        for column, histogram in enumerate(histograms[:COMPARED]):
            title = f"{name}, picture {column}"
            _draw(axes[row, column], title, histogram, [], f", skewness {histogram.skewness:+.2f}")
    return figure


def _histograms(found: Distributions) -> Figure:
    """A row per layer: weights on the left, activations on the right."""
    shown = list(found.by_picture)
    figure = Figure(figsize=(11, 1.9 * len(shown) + 0.8), layout="constrained")
    axes = figure.subplots(len(shown), 2, squeeze=False)
    for row, name in enumerate(shown):
        _draw(axes[row, 0], f"{name}: weights", found.weights[name], found.weight_cuts[name])
        _draw(axes[row, 1], f"{name}: activations", found.activations[name], found.activation_cuts[name])
    handles = [
        axes[0, 0].plot([], [], color=COLOURS[i % len(COLOURS)], label=label)[0] for i, label in enumerate(found.labels)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def _draw(axes: Axes, title: str, histogram: Histogram, cuts: Sequence[Cut | None], note: str = "") -> None:
    edges = np.linspace(histogram.smallest, histogram.largest, BINS + 1)
    axes.stairs(histogram.counts, edges, fill=True, color="#c8c8c8")
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.5)
    axes.set_title(f"{title}, {histogram.smallest:.3g} to {histogram.largest:.3g}{note}", loc="left", fontsize=8)
    axes.tick_params(labelsize=7)
    for i, cut in enumerate(cuts):
        for bound in () if cut is None else (cut.lower, cut.upper):
            axes.axvline(bound, color=COLOURS[i % len(COLOURS)], linewidth=1.2, ymax=1 - 0.12 * i)


def _percentiles(found: Distributions) -> Figure:
    """Percentiles of the bounds over the layers: upper ones above, lower ones below."""
    figure = Figure(figsize=(11, 6), layout="constrained")
    axes = figure.subplots(2, 2, sharex="col", squeeze=False)
    for column, (what, cuts) in enumerate((("weights", found.weight_cuts), ("activations", found.activation_cuts))):
        for row, side in enumerate(("upper", "lower")):
            for i, label in enumerate(found.labels):
                heights = [_percentile(of_files[i], side) for of_files in cuts.values()]
                axes[row, column].plot(range(len(cuts)), heights, ".-", color=COLOURS[i % len(COLOURS)], label=label)
            axes[row, column].set_title(f"{what}: {side} bound, percentile", loc="left", fontsize=9)
            axes[row, column].tick_params(labelsize=7)
            axes[row, column].spines[["top", "right"]].set_visible(False)
        axes[1, column].set_xticks(range(len(cuts)), list(cuts), rotation=90, fontsize=6)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def _percentile(cut: Cut | None, side: str) -> float:
    """NaN, which isn't drawn, without a bound."""
    if cut is None:
        return float("nan")
    return 100 * (cut.below if side == "lower" else 1 - cut.above)
