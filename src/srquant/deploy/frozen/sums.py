"""Sums of two activations on frozen grids."""

from torch import Tensor, nn

from srquant.deploy.frozen.grid import FrozenGrid


class FrozenAdd(nn.Module):
    """``a + scale * b`` put on a grid: 8-bit skip connections."""

    def __init__(self, grid: FrozenGrid, scale: float) -> None:
        super().__init__()
        self.grid = grid
        self.scale = scale

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Two tensors of one shape to their sum on the grid."""
        total = a + b if self.scale == 1.0 else a + self.scale * b
        return self.grid.dequantize(self.grid(total))


class FrozenAddends(nn.Module):
    """``a + scale * b`` of two addends on a grid each.

    Args:
        left: puts the first addend on grid points: ``GridPoints`` or a quantizer.
        right: the same for the second addend.
        scale: factor of the second addend.
    """

    def __init__(self, left: nn.Module, right: nn.Module, scale: float) -> None:
        super().__init__()
        self.left = left
        self.right = right
        self.scale = scale

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Two tensors of one shape to the sum of their grid points."""
        left, right = self.left(a), self.right(b)
        total: Tensor = left + right if self.scale == 1.0 else left + self.scale * right
        return total
