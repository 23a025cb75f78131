"""Bits that a network takes for each picture, and for each patch as a map over the picture (AdaBM Fig. 4, CADyQ)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from srquant.analyse.result_files import Files, csv_file, json_file, png_file
from srquant.errors import PolicyError
from srquant.measure.cost.layer_costs import picture_fab
from srquant.measure.quality.metrics import luminance
from srquant.measure.quality.patches import spans
from srquant.models.network import Network
from srquant.report.crops import Pixels

NAMES = ("picture_bits.csv", "picture_bits.json", "picture_bits.png")

MOST_SHOWN = 4
"""Pictures with a map; the numbers have all."""

COLOUR_MAP, OPACITY = "viridis", 0.5
BLACK, WHITE = 16, 235
"""Luminance."""

PALETTE = 256
"""Colours of the figure's file."""


@dataclass(frozen=True)
class PatchBits:
    """Mean activation bits of a patch: its rows ``top`` to ``bottom``, its columns ``left`` to ``right``."""

    top: int
    bottom: int
    left: int
    right: int
    bits: float


@dataclass(frozen=True)
class PictureBits:
    """Mean activation bits between head and tail (FAB) for a picture.

    Attributes:
        name: of the picture.
        low: the picture, ``H x W x 3``, 8 bit.
        whole: bits where it is upscaled at once.
        patches: bits where each patch is upscaled by itself.
    """

    name: str
    low: Pixels
    whole: float
    patches: Sequence[PatchBits]

    @property
    def mean(self) -> float:
        """Mean bits over the patches."""
        return fmean(patch.bits for patch in self.patches)


def bits_by_picture(network: Network) -> Callable[[NDArray[np.uint8]], float]:
    """The function from a picture to its bits.

    Raises:
        PolicyError: they don't depend on the picture.
    """
    found = picture_fab(network)
    if not callable(found):
        raise PolicyError(
            f"the bits of this network don't depend on the picture, they are {found:.2f} for all: "
            "see 'srquant analyse bits', or give a network of adabm, cadyq or cabm"
            if found is not None
            else "a float network has no bits: give a quantized file of adabm, cadyq or cabm"
        )
    return found


def measure_picture_bits(bits: Callable[[NDArray[np.uint8]], float], name: str, low: Pixels, patch: int) -> PictureBits:
    """Bits of a picture and of its patches without overlap.

    Args:
        bits: from ``bits_by_picture``.
        name: of the picture.
        low: ``H x W x 3``, 8 bit.
        patch: side of the patches; the last ones also have the remainder.
    """
    return PictureBits(name, low, bits(low), list(_patches(bits, low, patch)))


def picture_bit_files(found: Sequence[PictureBits]) -> Files:
    """Bits of every patch and picture, and maps of the first pictures."""
    columns = ("picture", "top", "bottom", "left", "right", "bits")
    rows = [(picture.name, *vars(patch).values()) for picture in found for patch in picture.patches]
    numbers = {picture.name: {"whole": picture.whole, "mean_of_patches": picture.mean} for picture in found}
    contents = csv_file(columns, rows), json_file(numbers), png_file(_figure(found[:MOST_SHOWN]), PALETTE)
    return dict(zip(NAMES, contents, strict=True))


def _patches(bits: Callable[[NDArray[np.uint8]], float], low: Pixels, patch: int) -> Iterator[PatchBits]:
    rows, columns = (spans(size, patch) for size in low.shape[:2])
    for top, bottom in rows:
        for left, right in columns:
            yield PatchBits(top, bottom, left, right, bits(low[top:bottom, left:right]))


def _figure(found: Sequence[PictureBits]) -> Figure:
    """Maps over the pictures in gray, whose colours don't mix with those of the map."""
    figure = Figure(figsize=(2.2 * len(found) + 0.8, 2.6), layout="constrained")
    axes = figure.subplots(1, len(found), squeeze=False)[0]
    values = [patch.bits for picture in found for patch in picture.patches]
    least, most = min(values), max(values)
    for place, picture in zip(axes, found, strict=True):
        place.imshow(luminance(picture.low), cmap="gray", vmin=BLACK, vmax=WHITE, interpolation="nearest")
        place.set_axis_off()
        place.set_title(f"{picture.name}: {picture.whole:.2f} bits,\npatches {picture.mean:.2f}", fontsize=8)
        _cover(place, picture, least, most)
    bar = figure.colorbar(ScalarMappable(Normalize(least, most), COLOUR_MAP), ax=axes, shrink=0.7)
    bar.set_label("bits", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return figure


def _cover(axes: Axes, picture: PictureBits, least: float, most: float) -> None:
    """Put the colour of its bits on each patch."""
    norm, colours = Normalize(least, most), matplotlib.colormaps[COLOUR_MAP]
    for patch in picture.patches:
        corner, width, height = (patch.left, patch.top), patch.right - patch.left, patch.bottom - patch.top
        axes.add_patch(Rectangle(corner, width, height, color=colours(norm(patch.bits)), alpha=OPACITY, linewidth=0))
