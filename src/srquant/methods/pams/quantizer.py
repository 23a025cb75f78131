"""The activation quantizer of PAMS (Li et al. 2020), section 3.2."""

from torch import Tensor

from srquant.grids.straight_through import straight_through
from srquant.quantizers.symmetric import SymmetricQuantizer


class PamsQuantizer(SymmetricQuantizer):
    """While it observes (``momentum`` isn't None), values are rounded to the grid of what is seen, and not clipped."""

    def forward(self, x: Tensor, bits: Tensor | None = None) -> Tensor:
        """Values to grid points, any shape; ``bits`` as ``ActivationQuantizer``."""
        if self.momentum is None:
            return super().forward(x, bits)
        self.observe(x, self.momentum)
        last = self.levels - 1 if bits is None else bits.detach().exp2() - 2
        step = 2 * self.seen / last
        return straight_through((x.detach() / step).round_().mul_(step), x)
