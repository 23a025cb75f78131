"""Bits of every layer of several quantized files, as bars (GBA Fig. 5)."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from srquant.analyse.result_files import Cell, Files, csv_file, png_file
from srquant.grids.uniform import FLOAT_BITS
from srquant.insertion.branched_network import NAMES as BRANCHES
from srquant.insertion.branched_network import BranchedNetwork
from srquant.measure.cost.layer_summaries import LayerSummary, layer_summaries
from srquant.models.network import Network
from srquant.report.charts import COLOURS

NAMES = ("bits.csv", "bits.png")

TICKS = (2, 4, 6, 8)


@dataclass(frozen=True)
class NamedBits:
    """Bits of the layers of a quantized file, or of one of its branches."""

    label: str
    layers: Sequence[LayerSummary]


def bits_of(label: str, network: Network) -> list[NamedBits]:
    """Bits of a frozen network; of one with branches, of each branch."""
    if not isinstance(network, BranchedNetwork):
        return [NamedBits(label, layer_summaries(network))]
    return [
        NamedBits(f"{label}, branch {BRANCHES[bits]}", layer_summaries(branch))
        for bits, branch in network.branches.items()
    ]


def bit_files(found: Sequence[NamedBits]) -> Files:
    """A table of all layers, and bars."""
    columns = ("file", "layer", "weight_bits", "activation_bits", "choices")
    rows: list[list[Cell]] = [
        [named.label, layer.name, _bits(layer.weight_bits), _bits(layer.activation_bits), _choices(layer)]
        for named in found
        for layer in named.layers
    ]
    return dict(zip(NAMES, (csv_file(columns, rows), png_file(_figure(found))), strict=True))


def _bits(bits: int) -> int | None:
    return None if bits == FLOAT_BITS else bits


def _choices(layer: LayerSummary) -> str:
    """Bits among which the layer chooses for each picture."""
    return " ".join(map(str, layer.choices))


def _figure(found: Sequence[NamedBits]) -> Figure:
    longest = max(found, key=lambda named: len(named.layers)).layers
    width = min(max(5.0, 1.5 + 0.3 * len(longest)), 16.0)
    figure = Figure(figsize=(width, 1.1 * len(found) + 1.2), layout="constrained")
    axes = figure.subplots(len(found), 1, sharex=True, squeeze=False)[:, 0]
    places = {layer.name: place for place, layer in enumerate(longest)}
    for row, named in zip(axes, found, strict=True):
        _draw(row, named, places)
    axes[-1].set_xticks(range(len(places)), list(places), rotation=90, fontsize=6)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=2, frameon=False, fontsize=8)
    return figure


def _draw(axes: Axes, named: NamedBits, places: dict[str, int]) -> None:
    """Float layers have no bars; where bits depend on the picture the bar is the most."""
    known = [layer for layer in named.layers if layer.name in places]
    for label, shift, colour, values in (
        ("weights", -0.2, COLOURS[0], [_bits(layer.weight_bits) for layer in known]),
        ("activations", 0.2, COLOURS[1], [_bits(layer.activation_bits) for layer in known]),
    ):
        at = [places[layer.name] + shift for layer in known]
        axes.bar(at, [value or 0 for value in values], 0.4, color=colour, label=label)
    axes.set_title(named.label, loc="left", fontsize=8)
    axes.set_yticks(TICKS)
    axes.tick_params(labelsize=7)
    axes.set_ylim(0, 8.5)
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
