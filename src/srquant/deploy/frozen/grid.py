"""A uniform grid with fixed bounds.

A grid ``lower + step * k`` with zero point ``z`` is ``step * (k - z) + offset``, ``offset = lower + step * z``.
"""

from torch import Tensor, nn

from srquant.grids.uniform import codes, step_size, zero_point
from srquant.quantizers.grid_spec import UniformSpec


class FrozenGrid(nn.Module):
    """A fixed uniform activation grid.

    Args:
        lower: first grid point, 0-d float32.
        upper: last grid point, 0-d float32.
        levels: number of grid points, 3..256.
        zero_point: code of a padded zero; None: that of the grid point nearest to zero.
    """

    def __init__(self, lower: Tensor, upper: Tensor, levels: int, zero_point: int | None = None) -> None:
        super().__init__()
        self.lower: Tensor
        self.upper: Tensor
        self.register_buffer("lower", lower.detach().clone())
        self.register_buffer("upper", upper.detach().clone())
        self.levels = levels
        self.padded_zero = zero_point

    @property
    def bits(self) -> int:
        """Smallest number of bits that holds its codes."""
        return (self.levels - 1).bit_length()

    @property
    def step(self) -> float:
        """Distance between grid points."""
        return float(step_size(self.lower, self.upper, self.levels))

    @property
    def zero_point(self) -> int:
        """Code of a padded zero."""
        if self.padded_zero is not None:
            return self.padded_zero
        return int(zero_point(self.lower, self.upper, self.levels))

    @property
    def offset(self) -> float:
        """Value of a padded zero."""
        return float(self.lower) + self.step * self.zero_point

    def forward(self, x: Tensor) -> Tensor:
        """Integers ``k - z`` as floats, shape of ``x``."""
        return codes(x, self.lower, self.upper, self.levels) - self.zero_point

    def codes(self, x: Tensor) -> Tensor:
        """The same integers, under the name that ``measure.cost`` calls."""
        return self.forward(x)

    def dequantize(self, integers: Tensor) -> Tensor:
        """The grid points of ``k - z``."""
        return integers * self.step + self.offset


class GridPoints(nn.Module):
    """Values to the values of their grid points."""

    def __init__(self, grid: FrozenGrid) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same."""
        return self.grid.dequantize(self.grid(x))


def frozen_grid(spec: UniformSpec) -> FrozenGrid:
    """The grid of a spec with one pair of bounds."""
    return FrozenGrid(spec.lower, spec.upper, spec.levels)
