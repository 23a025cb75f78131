"""Grids for training with a zero, symmetric around it: ``{-n..n} * upper/n`` with ``n = 2**(bits-1) - 1``.

One of the ``2**bits`` codes stays unused, and after a ReLU half of the others too. Sources: PAMS (Li et al. 2020),
section 3.2; DoReFa as other super-resolution papers run it.
"""

import torch
from torch import Tensor

from srquant.grids.mean_over_processes import mean_over_processes
from srquant.grids.uniform import fake_quantize, fake_quantize_bits
from srquant.quantizers.base import ActivationQuantizer

SMALLEST = 1e-6
"""Smallest value of the upper bound."""


class SymmetricQuantizer(ActivationQuantizer):
    """Grid ``-upper..upper`` with one learnable bound; ``use_observed`` and ``keep_positive`` update ``lower``.

    The gradient in ``upper`` is the sign of a clipped value, and ``(round(p) - p)/n`` with ``p = x n/upper`` for a
    value inside.

    Args:
        upper: 0-d, positive.
        bits: 2..8.
        momentum: weight of the bound in the running mean ``seen`` of bound and largest magnitude; None: no observing.

    Attributes:
        seen: 0-d, ``momentum * upper + (1 - momentum) * largest`` after the last forward pass, the same in all
            processes; ``largest`` is the largest magnitude of each sample, averaged over the batch.
    """

    def __init__(self, upper: Tensor, bits: int, momentum: float | None = None) -> None:
        super().__init__(-upper, upper, bits, narrow=True)
        self.lower.requires_grad_(False)
        self.momentum = momentum
        self.seen: Tensor
        self.register_buffer("seen", upper.detach().clone())

    def forward(self, x: Tensor, bits: Tensor | None = None) -> Tensor:
        """Values to grid points, any shape; ``bits`` as ``ActivationQuantizer``."""
        if self.momentum is not None:
            self.observe(x, self.momentum)
        if bits is not None:
            return fake_quantize_bits(x, -self.upper, self.upper, bits, narrow=True)
        return fake_quantize(x, -self.upper, self.upper, self.levels)

    @torch.no_grad()
    def observe(self, x: Tensor, momentum: float) -> None:
        """Update ``seen`` with the largest magnitudes of a batch, ``N x ...``."""
        largest = mean_over_processes(x.detach().flatten(1).abs().amax(1).mean())
        self.seen.copy_(torch.lerp(largest, self.upper, momentum).clamp(min=SMALLEST))

    @torch.no_grad()
    def use_observed(self) -> None:
        """Set the bound to ``seen``."""
        self.upper.copy_(self.seen)
        self.lower.copy_(-self.upper)

    @torch.no_grad()
    def keep_positive(self) -> None:
        """Keep the bound above zero, and set ``lower`` to minus the bound."""
        self.upper.clamp_(min=SMALLEST)
        self.lower.copy_(-self.upper)

    def deployable(self) -> ActivationQuantizer:
        """A plain quantizer on the same grid, which observes nothing."""
        upper = self.upper.detach()
        return ActivationQuantizer(-upper, upper, self.bits, narrow=True)
