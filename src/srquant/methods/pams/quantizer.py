"""The activation quantizer of PAMS (Li et al. 2020), section 3.2."""

from torch import Tensor, nn

from srquant.devices import quotient
from srquant.grids.straight_through import straight_through
from srquant.quantizers.symmetric import SymmetricQuantizer


class PamsQuantizer(SymmetricQuantizer):
    """``round(clip(x, -alpha, alpha) n/alpha) alpha/n`` with ``n = 2**(bits-1) - 1``.

    In the first epoch (``momentum`` isn't None) values are rounded but not clipped, with ``seen`` as ``alpha``.
    """

    @property
    def alpha(self) -> nn.Parameter:
        """The max scale: the upper bound, 0-d; the lower one is its negative."""
        return self.upper

    def forward(self, x: Tensor, bits: Tensor | None = None) -> Tensor:
        """Values to grid points, any shape; ``bits`` as ``ActivationQuantizer``."""
        if self.momentum is None:
            return super().forward(x, bits)
        self.observe(x, self.momentum)
        last = self.levels - 1 if bits is None else bits.detach().exp2() - 2
        step = quotient(2 * self.seen, last)
        return straight_through((x.detach() / step).round_().mul_(step), x)
