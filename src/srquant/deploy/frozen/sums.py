"""Sums of two streams on frozen grids."""

from torch import Tensor, nn

from srquant.deploy.frozen.grid import FrozenGrid
from srquant.quantizers.by_picture import ConditionalQuantizer


class FrozenAdd(nn.Module):
    """``a + scale * b`` put on a grid: the 8-bit skip stream."""

    def __init__(self, grid: FrozenGrid, scale: float) -> None:
        super().__init__()
        self.grid = grid
        self.scale = scale

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Two tensors of one shape to their sum on the grid."""
        total = a + b if self.scale == 1.0 else a + self.scale * b
        return self.grid.dequantize(self.grid(total))


Points = FrozenGrid | ConditionalQuantizer


class FrozenAddends(nn.Module):
    """``a + scale * b`` of two addends on a grid each.

    Args:
        left: grid of the first addend, or what puts it on points.
        right: the same of the second.
        scale: of the second.
    """

    def __init__(self, left: Points, right: Points, scale: float) -> None:
        super().__init__()
        self.left = left
        self.right = right
        self.scale = scale

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Two tensors of one shape to the sum of their grid points."""
        left, right = _points(self.left, a), _points(self.right, b)
        return left + right if self.scale == 1.0 else left + self.scale * right


def _points(grid: Points, values: Tensor) -> Tensor:
    result: Tensor = grid(values)
    return grid.dequantize(result) if isinstance(grid, FrozenGrid) else result
