"""Activation grids behind a shift per channel, padded with true zeros."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srquant.quantizers.base import ActivationQuantizer


class ShiftedQuantizer(ActivationQuantizer):
    """``q(x + shift)`` on one grid for all channels; the shift is not subtracted again.

    Zeros of padding are put around the grid points, not shifted: zero is one of the points, so integer engines pad with
    its code. The shift moves the bounds of each channel of what an engine quantizes, and costs nothing.

    Args:
        lower: first grid point, 0-d, a whole number of steps.
        upper: last grid point, 0-d, above ``lower``.
        bits: 2..8.
        shift: ``C x 1 x 1`` before a convolution, ``C`` before a linear layer.
    """

    def __init__(self, lower: Tensor, upper: Tensor, bits: int, shift: Tensor) -> None:
        super().__init__(lower, upper, bits)
        self.shift = nn.Parameter(shift.detach().clone())

    def forward(self, x: Tensor, bits: Tensor | None = None) -> Tensor:
        """Values to grid points, any shape; ``bits`` as ``ActivationQuantizer``."""
        return super().forward(x + self.shift, bits)

    def padded(self, x: Tensor, padding: tuple[int, int]) -> Tensor:
        """Grid points with zeros around them."""
        vertical, horizontal = padding
        return F.pad(self(x), (horizontal, horizontal, vertical, vertical))

    @torch.no_grad()
    def settle_shift(self, delta: float) -> None:
        """The shift to multiples of ``delta``."""
        self.shift.copy_((self.shift / delta).round() * delta)
