"""Piecewise linear points in a frozen layer: values are put on them before the layer's grid of 256 points."""

import torch
from torch import Tensor, nn

from srquant.deploy.frozen.grid import FrozenGrid
from srquant.deploy.frozen.layers import FrozenLayer, frozen_layer
from srquant.grids.uniform import codes
from srquant.quantizers.module_spec import LayerSpec
from srquant.quantizers.plq import FINE_LEVELS, PLQSpec, fake_quantize_pieces


class PiecewisePoints(nn.Module):
    """Values to the nearest point of their region, see ``quantizers.plq``.

    Args:
        edges: ends of the regions, increasing, float32.
        levels: points of each region.
        bits: nominal bits, 3..7.
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


def plq_layer(spec: LayerSpec, grid: PLQSpec) -> FrozenLayer:
    """The layer that first puts values on the points of their regions."""
    points = PiecewisePoints(grid.edges, grid.region_levels, grid.bits)
    layer = frozen_layer(spec, fine_grid(grid, points), before=points)
    layer.piecewise_codes = sum(grid.region_levels)
    return layer


def fine_grid(grid: PLQSpec, points: PiecewisePoints) -> FrozenGrid:
    """The grid of 256 points; its zero point is the code of the point that zero is put on, often not zero itself."""
    padded = codes(points(torch.zeros(())), grid.lower, grid.upper, FINE_LEVELS)
    return FrozenGrid(grid.lower, grid.upper, FINE_LEVELS, int(padded))
