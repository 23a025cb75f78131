"""Piecewise linear points in a frozen layer: what happens to values before the layer's grid of 256 points."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from srquant.deploy.frozen.grid import FrozenGrid
from srquant.grids.uniform import codes
from srquant.quantizers.plq import FINE_LEVELS, PiecewiseQuantizer, fake_quantize_pieces


@dataclass(frozen=True)
class Pieces:
    """Regions of a piecewise linear grid, as the file holds them.

    Attributes:
        edges: their ends, increasing, float32; one more than there are regions.
        levels: points of each region, both ends included.
    """

    edges: Tensor
    levels: tuple[int, ...]


class PiecewisePoints(nn.Module):
    """Values to the nearest point of their region, see ``quantizers.plq``.

    Args:
        edges: ends of the regions, increasing, float32.
        levels: points of each region.
        bits: that the points are said to have, 3..7.
    """

    def __init__(self, edges: Tensor, levels: tuple[int, ...], bits: int) -> None:
        super().__init__()
        self.edges: Tensor
        self.register_buffer("edges", edges)
        self.levels = levels
        self.bits = bits

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same."""
        return fake_quantize_pieces(x, self.edges, self.levels)


def pieces_of(quantizer: PiecewiseQuantizer) -> Pieces:
    """The regions of a quantizer."""
    return Pieces(quantizer.edges().detach().clone(), quantizer.region_levels)


def fine_grid(lower: Tensor, upper: Tensor, points: PiecewisePoints) -> FrozenGrid:
    """The grid of 256 points whose zero is what a padded zero becomes: often no point lies at zero itself."""
    padded = codes(points(torch.zeros(())), lower, upper, FINE_LEVELS)
    return FrozenGrid(lower, upper, FINE_LEVELS, int(padded))
