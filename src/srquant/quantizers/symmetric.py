"""Grids in training that are symmetric around a zero: ``{-n..n} * upper/n`` with ``n = 2**(bits-1) - 1``.

One of the ``2**bits`` codes stays unused, and behind a ReLU half of the others too. Sources: PAMS (Li et al. 2020),
section 3.2; DoReFa as other super-resolution papers run it.
"""

import torch
from torch import Tensor

from srquant.grids.mean_over_processes import mean_over_processes
from srquant.grids.straight_through import straight_through
from srquant.grids.uniform import fake_quantize
from srquant.quantizers.base import ActivationQuantizer

SMALLEST = 1e-6
"""Upper bounds don't get below this."""


class SymmetricQuantizer(ActivationQuantizer):
    """One bound for both sides; ``lower`` mirrors it once ``follow`` or ``keep_positive`` was called.

    The gradient in ``upper`` is the sign of a clipped value, and ``(round(p) - p)/n`` of one at ``p = x n/upper``
    inside.

    Args:
        upper: 0-d, positive.
        bits: 2..8.
        kept: share of the bound in the running mean that ``seen`` is of this bound and a batch's largest magnitude;
            None where nothing is to be seen.

    Attributes:
        seen: 0-d, that mean after the last pass, the same in all processes. Largest magnitudes are those of each
            sample, averaged.
    """

    def __init__(self, upper: Tensor, bits: int, kept: float | None = None) -> None:
        super().__init__(-upper, upper, bits, narrow=True)
        self.lower.requires_grad_(False)
        self.kept = kept
        self.seen: Tensor
        self.register_buffer("seen", upper.detach().clone())

    def forward(self, x: Tensor, bits: Tensor | None = None) -> Tensor:
        """Values to grid points, any shape; bits can't be learned."""
        assert bits is None
        if self.kept is not None:
            self.see(x, self.kept)
        return fake_quantize(x, -self.upper, self.upper, self.levels)

    @torch.no_grad()
    def see(self, x: Tensor, kept: float) -> None:
        """Note the largest magnitudes of a batch, ``N x ...``."""
        largest = mean_over_processes(x.detach().flatten(1).abs().amax(1).mean())
        self.seen.copy_(torch.lerp(largest, self.upper, kept).clamp(min=SMALLEST))

    @torch.no_grad()
    def follow(self) -> None:
        """Take what was seen as the bound."""
        self.upper.copy_(self.seen)
        self.lower.copy_(-self.upper)

    @torch.no_grad()
    def keep_positive(self) -> None:
        """Keep the bound above zero, and mirror it."""
        self.upper.clamp_(min=SMALLEST)
        self.lower.copy_(-self.upper)

    def plain(self) -> ActivationQuantizer:
        """The grid as it is now."""
        upper = self.upper.detach()
        return ActivationQuantizer(-upper, upper, self.bits, narrow=True)


class PamsQuantizer(SymmetricQuantizer):
    """While it observes (``kept`` isn't None), values are rounded to the grid of what is seen, and not clipped."""

    def forward(self, x: Tensor, bits: Tensor | None = None) -> Tensor:
        """Values to grid points, any shape; bits can't be learned."""
        if self.kept is None:
            return super().forward(x, bits)
        self.see(x, self.kept)
        step = 2 * self.seen / (self.levels - 1)
        return straight_through((x.detach() / step).round_().mul_(step), x)
