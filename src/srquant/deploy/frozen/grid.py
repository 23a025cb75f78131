"""A grid that nothing moves any more, and channels that are brought to one.

A grid ``lower + step * k`` with zero point ``z`` is ``step * (k - z) + offset``, ``offset = lower + step * z``.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from srquant.grids.uniform import codes, step_size, zero_point


class FrozenGrid(nn.Module):
    """A fixed uniform activation grid.

    Args:
        lower: first grid point, 0-d float32.
        upper: last grid point, 0-d float32.
        levels: number of grid points, 3..256.
        zero_point: code of a padded zero; None takes that of the grid point nearest to zero.
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

    def dequantize(self, integers: Tensor) -> Tensor:
        """The grid points of ``k - z``."""
        return integers * self.step + self.offset


class ChannelScaling(nn.Module):
    """Brings channels with grids of their own to one grid: ``(pad(x) - lower) / step``.

    Args:
        lower: first grid point of each channel, ``C x 1 x 1`` or ``C``.
        step: of each channel, same shape.
        padding: zeros put around first, (rows, columns), where the channels' codes of zero differ; the convolution
            then pads nothing.
    """

    def __init__(self, lower: Tensor, step: Tensor, padding: tuple[int, int]) -> None:
        super().__init__()
        self.lower: Tensor
        self.step: Tensor
        self.register_buffer("lower", lower)
        self.register_buffer("step", step)
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        """``N x C x H x W`` (or ``... x C``) values to positions on the channels' grids."""
        vertical, horizontal = self.padding
        padded = F.pad(x, (horizontal, horizontal, vertical, vertical)) if any(self.padding) else x
        return (padded - self.lower) / self.step
