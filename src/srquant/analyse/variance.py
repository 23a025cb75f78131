"""Variance of activations per channel and per picture, as heat maps (GBA Fig. 1)."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from srquant.analyse.result_files import Files, csv_file, json_file, png_file
from srquant.insertion.collect_ranges import channel_rows
from srquant.models.hooks import watch_inputs
from srquant.models.network import Network, on_device_of

NAMES = ("variance.csv", "variance.json", "variance.png")

Variances = Mapping[str, NDArray[np.float64]]
"""By layer, ``pictures x channels``, of the layer's input."""

COLOUR_MAP = "viridis"
SMALLEST = 1e-30
"""Median variance that counts as none."""


@torch.no_grad()
def measure_variances(network: Network, layers: Sequence[str], pictures: Iterable[Tensor]) -> Variances:
    """Variance of every channel of every layer's input.

    Args:
        network: float.
        layers: convolutions and linear layers that run once per picture.
        pictures: ``1 x 3 x H x W`` in [0, 1].
    """
    modules = {name: network.module.get_submodule(name) for name in layers}
    found: dict[str, list[NDArray[np.float64]]] = {name: [] for name in layers}

    def see(name: str, inputs: tuple[Tensor, ...]) -> None:
        rows = channel_rows(modules[name], inputs[0]).double()
        found[name].append(rows.var(1, correction=0).cpu().numpy())

    with watch_inputs(modules, see):
        for picture in on_device_of(network.eval(), pictures):
            network(picture)
    return {name: np.stack(values) for name, values in found.items() if values}


def most_varied(found: Variances) -> str:
    """The layer whose channels vary most from picture to picture."""
    return max(found, key=lambda name: ratio_between_pictures(found[name]))


def ratio_between_channels(variances: NDArray[np.float64]) -> float:
    """Largest variance of a channel over the median one; means over pictures; channels without variance don't count."""
    means = variances.mean(0)
    alive = means[means > 0]
    return float(alive.max() / np.median(alive)) if alive.size else 1.0


def ratio_between_pictures(variances: NDArray[np.float64]) -> float:
    """Largest variance of a channel in a picture over the smallest; median of the channels that always vary."""
    alive = variances[:, (variances > 0).all(0)]
    return float(np.median(alive.max(0) / alive.min(0))) if alive.size else 1.0


def variance_files(found: Variances, shown: str) -> Files:
    """All variances, ratios of every layer, and heat maps; ``shown`` is the layer whose pictures are drawn."""
    rows = [
        (name, picture, channel, float(value))
        for name, variances in found.items()
        for (picture, channel), value in np.ndenumerate(variances)
    ]
    numbers = {
        name: {
            "smallest": float(variances.mean(0).min()),
            "median": float(np.median(variances.mean(0))),
            "largest": float(variances.mean(0).max()),
            "largest_channel_over_median": ratio_between_channels(variances),
            "largest_picture_over_smallest": ratio_between_pictures(variances),
        }
        for name, variances in found.items()
    }
    contents = (
        csv_file(("layer", "picture", "channel", "variance"), rows),
        json_file(numbers),
        png_file(_figure(found, shown), colours=256),
    )
    return dict(zip(NAMES, contents, strict=True))


def _figure(found: Variances, shown: str) -> Figure:
    """Layers and channels on the left, pictures and channels of one layer on the right; white: no variance."""
    figure = Figure(figsize=(12, 5), layout="constrained")
    left, right = figure.subplots(1, 2, gridspec_kw={"wspace": 0.12})
    widest = max(variances.shape[1] for variances in found.values())
    means = np.full((len(found), widest), np.nan)
    for row, variances in enumerate(found.values()):
        mean = variances.mean(0)
        means[row, : variances.shape[1]] = mean / max(np.median(mean), SMALLEST)
    _draw(figure, left, means, "Mean over pictures", "variance over that of the layer's median channel", list(found))
    numbers = [str(i) for i in range(len(found[shown]))]
    _draw(figure, right, found[shown], f"{shown}, picture by picture", "variance", numbers)
    return figure


def _draw(figure: Figure, axes: Axes, values: NDArray[np.float64], title: str, unit: str, rows: Sequence[str]) -> None:
    known = np.where(values > 0, values, np.nan)
    norm = LogNorm(np.nanmin(known), np.nanmax(known)) if np.isfinite(known).any() else None
    drawn = axes.imshow(known, aspect="auto", norm=norm, cmap=COLOUR_MAP, interpolation="nearest")
    axes.set_yticks(range(len(rows)), rows, fontsize=6)
    axes.set_xlabel("channel", fontsize=8)
    axes.tick_params(axis="x", labelsize=7)
    axes.set_title(title, loc="left", fontsize=9)
    bar = figure.colorbar(drawn, ax=axes)
    bar.set_label(unit, fontsize=8)
    bar.ax.tick_params(labelsize=7)
