"""What clipping the outermost share of all activations does to the float network's picture (outlier-aware Fig. 2)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from srquant.analyse.result_files import Files, csv_file
from srquant.data.images import png_bytes
from srquant.errors import PolicyError
from srquant.grids.range_rules import quantile
from srquant.insertion.plan import quantizable_layers
from srquant.measure.quality.metrics import psnr_y
from srquant.measure.quality.validation import upscaled
from srquant.models.hooks import watch_inputs
from srquant.models.network import Network
from srquant.report.crops import Column, Pixels, side_by_side
from srquant.report.most_different import most_different

NAMES = ("clipping.csv", "clipping.png")

SHARES = (0.0, 0.0001, 0.001, 0.01)

SIDE, CROPS, ZOOM = 64, 2, 3
"""Of the crops that are shown: their side in pixels, their number, and by how much they are enlarged."""

Limits = Mapping[str, tuple[Tensor, Tensor]]
"""Lower and upper limit by layer, 0-d."""


@dataclass(frozen=True)
class Clipped:
    """The picture with clipped activations.

    Attributes:
        share: of the values of every layer's input that are clipped, half of them on each side.
        picture: ``H x W x 3``, 8 bit.
        psnr_y: against the float network's picture, in dB; infinite where they are equal.
        psnr_rgb: the same over all three colours, which luminance alone doesn't show.
    """

    share: float
    picture: Pixels
    psnr_y: float
    psnr_rgb: float


def measure_clipping(network: Network, low: Pixels, shares: Sequence[float]) -> list[Clipped]:
    """Upscale a picture with clipped activations.

    Args:
        network: float.
        low: ``H x W x 3``, 8 bit.
        shares: 0 to below 1.

    Raises:
        PolicyError: a share outside of this.
    """
    for share in shares:
        if not 0 <= share < 1:
            raise PolicyError(
                f"a share of {share} of the activations can't be clipped: give 0 to below 1, such as 0.01"
            )
    network.eval()
    whole = upscaled(network, low)
    return [_clipped(network, low, share, whole) for share in shares]


def clipping_files(found: Sequence[Clipped]) -> Files:
    """PSNR of every share, and the crops in which the pictures differ most."""
    rows = [(clipped.share, _finite(clipped.psnr_y), _finite(clipped.psnr_rgb)) for clipped in found]
    pictures = [clipped.picture for clipped in found]
    boxes = most_different(pictures, SIDE, CROPS)
    columns = [Column(_label(clipped), [clipped.picture] * len(boxes)) for clipped in found]
    sheet = png_bytes(side_by_side(columns, boxes, ZOOM))
    return dict(zip(NAMES, (csv_file(("share", "psnr_y", "psnr_rgb"), rows), sheet), strict=True))


def _label(clipped: Clipped) -> str:
    psnr = (
        "the float picture" if np.isinf(clipped.psnr_rgb) else f"{clipped.psnr_y:.2f} dB Y, {clipped.psnr_rgb:.2f} RGB"
    )
    return f"{100 * clipped.share:g} % clipped\n{psnr}"


def _finite(psnr: float) -> float | None:
    return None if np.isinf(psnr) else psnr


def _clipped(network: Network, low: Pixels, share: float, whole: Pixels) -> Clipped:
    limits = _limits(network, low, share) if share > 0 else {}
    picture = _upscaled_within(network, low, limits)
    return Clipped(share, picture, psnr_y(picture, whole, network.facts.scale), _psnr_rgb(picture, whole))


@torch.no_grad()
def _limits(network: Network, low: Pixels, share: float) -> Limits:
    """The quantiles of each layer's input in the float network, for this picture."""
    limits: dict[str, tuple[Tensor, Tensor]] = {}

    def see(name: str, inputs: tuple[Tensor, ...]) -> None:
        rows = inputs[0].reshape(1, -1)
        limits[name] = quantile(rows, share / 2)[0], quantile(rows, 1 - share / 2)[0]

    with watch_inputs(_layers(network), see):
        upscaled(network, low)
    return limits


def _upscaled_within(network: Network, low: Pixels, limits: Limits) -> Pixels:
    layers = _layers(network)
    hooks = [
        layers[name].register_forward_pre_hook(lambda _, inputs, pair=pair: (inputs[0].clamp(*pair), *inputs[1:]))
        for name, pair in limits.items()
    ]
    try:
        return upscaled(network, low)
    finally:
        for hook in hooks:
            hook.remove()


def _layers(network: Network) -> dict[str, torch.nn.Module]:
    return {name: network.module.get_submodule(name) for name in quantizable_layers(network)}


def _psnr_rgb(picture: Pixels, whole: Pixels) -> float:
    error = float(np.mean((picture.astype(float) - whole) ** 2))
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))
