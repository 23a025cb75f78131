"""Maps of one layer's output in several models beside each other (QuantSR Fig. 4)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from srquant.analyse.result_files import Files, csv_file, png_file
from srquant.errors import PolicyError, suggest
from srquant.measure.quality.validation import upscaled
from srquant.models.hooks import kept_outputs
from srquant.models.network import Network
from srquant.report.crops import Pixels

NAMES = ("features.csv", "features.png")

COLOUR_MAP = "inferno"
COLUMNS = 4
BRIGHTEST = 99.5
"""Percentile of a map that has the brightest colour."""


@dataclass(frozen=True)
class FeatureMap:
    """Mean magnitude over the channels of an output.

    Attributes:
        label: of the model.
        values: ``H x W``.
        likeness: correlation with the first model's map, -1 to 1; None where one of both is constant.
    """

    label: str
    values: NDArray[np.float64]
    likeness: float | None


def last_features(network: Network) -> str:
    """Name of the layer behind the residual blocks, or of the last module whose features are compared.

    Raises:
        PolicyError: neither is known.
    """
    facts = network.facts
    found = facts.behind_blocks or (facts.features[-1] if facts.features else None)
    if found is None:
        raise PolicyError(f"{facts.architecture} has no known features: name a layer with --layer")
    return found


def measure_features(labels: Sequence[str], networks: Sequence[Network], layer: str, low: Pixels) -> list[FeatureMap]:
    """The map of each network.

    Args:
        labels: of the networks.
        networks: float or frozen.
        layer: a module that all of them have, whose output is ``1 x C x H x W``.
        low: the picture, ``H x W x 3``, 8 bit.

    Raises:
        PolicyError: a network has no such module, or its output is no feature map.
    """
    values = [_map(label, network, layer, low) for label, network in zip(labels, networks, strict=True)]
    return [FeatureMap(label, of, _likeness(values[0], of)) for label, of in zip(labels, values, strict=True)]


def feature_files(found: Sequence[FeatureMap], layer: str) -> Files:
    """How like the first model's each map is, and the maps."""
    rows = [(feature.label, float(feature.values.mean()), feature.likeness) for feature in found]
    table = csv_file(("model", "mean_magnitude", "correlation_with_first"), rows)
    return dict(zip(NAMES, (table, png_file(_figure(found, layer), colours=256)), strict=True))


@torch.no_grad()
def _map(label: str, network: Network, layer: str, low: Pixels) -> NDArray[np.float64]:
    picture = torch.from_numpy(low).permute(2, 0, 1)[None].float() / 255
    taken = network.branch_for(picture)
    names = [name for name, _ in taken.module.named_modules() if name]
    if layer not in names:
        raise PolicyError(f"{label} has no module {layer!r}; {suggest(layer, names)}")
    with kept_outputs(taken.module.get_submodule(layer)) as outputs:
        upscaled(network.eval(), low)
    if not outputs or outputs[0].dim() != 4:
        raise PolicyError(f"{label}: {layer} gives no feature map; name a convolution or a block")
    return _mean_magnitude(outputs[0])


def _mean_magnitude(output: Tensor) -> NDArray[np.float64]:
    values: NDArray[np.float64] = output[0].double().abs().mean(0).cpu().numpy()
    return values


def _likeness(first: NDArray[np.float64], other: NDArray[np.float64]) -> float | None:
    if first.std() == 0 or other.std() == 0:
        return None
    return float(np.corrcoef(first.ravel(), other.ravel())[0, 1])


def _figure(found: Sequence[FeatureMap], layer: str) -> Figure:
    rows = -(-len(found) // COLUMNS)
    figure = Figure(figsize=(1.8 * min(len(found), COLUMNS), 2.2 * rows + 0.3), layout="constrained")
    axes = figure.subplots(rows, min(len(found), COLUMNS), squeeze=False).ravel()
    for place in axes:
        place.set_axis_off()
    for place, feature in zip(axes, found, strict=False):
        place.imshow(feature.values, cmap=COLOUR_MAP, vmin=0, vmax=np.percentile(feature.values, BRIGHTEST))
        likeness = "" if feature is found[0] or feature.likeness is None else f"\ncorrelation {feature.likeness:.3f}"
        place.set_title(f"{feature.label}{likeness}", fontsize=6)
    figure.supxlabel(f"Mean magnitude of {layer}", fontsize=8)
    return figure
