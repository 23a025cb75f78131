"""RLQ, the redistribution-driven learnable quantizer (QuantSR, NeurIPS 2023, section 3.2), on the base of LSQ."""

import torch
from torch import Tensor, nn

from srquant.methods.quantsr.redistribution import rlq_quantize
from srquant.quantizers.base import ActivationQuantizer, WeightQuantizer
from srquant.quantizers.integer_weight import LARGEST_INTEGER
from srquant.quantizers.shifted import ShiftedQuantizer

NEGATIVE = -1e-5
"""Activations below this make a quantizer signed."""

SMALLEST_ALPHA = 1e-8

SMALLEST_SHARE = 1e-3
"""``alpha`` stays above this share of its first value."""


class RLQ(nn.Module):
    """A learned step ``alpha`` and the codes that it is multiplied by.

    Args:
        bits: 2..8.
        k: of ``phi``; 0 for straight-through rounding.

    Attributes:
        alpha: 0-d.
        first: first code, ``Q_n`` in LSQ, 0-d.
        last: last code, ``Q_p`` in LSQ, 0-d.
        smallest: least allowed ``alpha``, 0-d.
    """

    def __init__(self, bits: int, k: float) -> None:
        super().__init__()
        self.bits, self.k = bits, k
        self.alpha = nn.Parameter(torch.ones(()))
        self.first: Tensor
        self.last: Tensor
        self.register_buffer("first", torch.tensor(-float(1 << (bits - 1))))
        self.register_buffer("last", torch.tensor(float((1 << (bits - 1)) - 1)))
        self.smallest: Tensor
        self.register_buffer("smallest", torch.tensor(SMALLEST_ALPHA))

    @torch.no_grad()
    def start(self, values: Tensor) -> None:
        """Set ``alpha`` to LSQ's first value: ``2 mean|v| / sqrt(last)``."""
        self.set_alpha(2 * values.abs().mean() / self.last.sqrt())

    @torch.no_grad()
    def set_alpha(self, alpha: Tensor) -> None:
        """Set ``alpha``, 0-d, and the least value that it may get."""
        self.alpha.copy_(alpha.clamp(min=SMALLEST_ALPHA))
        self.smallest.copy_(SMALLEST_SHARE * self.alpha)

    @torch.no_grad()
    def keep_positive(self) -> None:
        """Raise ``alpha`` to the least allowed value where it is below."""
        self.alpha.clamp_(min=self.smallest)

    def quantized(self, values: Tensor) -> Tensor:
        """Values to grid points, any shape; the gradient in ``alpha`` is scaled by ``1 / sqrt(numel * last)``."""
        scale = (self.last * values.numel()).rsqrt()
        return rlq_quantize(values, self.alpha, self.first, self.last, self.k, scale)

    def bounds(self) -> tuple[Tensor, Tensor]:
        """First and last grid point, 0-d, no gradient."""
        alpha = self.alpha.detach()
        return alpha * self.first, alpha * self.last


class WeightRLQ(RLQ):
    """RLQ of a weight tensor, always signed; at 8 bits without -128, which integer engines don't have."""

    def __init__(self, bits: int, k: float) -> None:
        super().__init__(bits, k)
        self.first.clamp_(min=-LARGEST_INTEGER)

    def forward(self, weight: Tensor) -> Tensor:
        """Shape of the weight."""
        return self.quantized(weight)

    def deployable(self) -> WeightQuantizer:
        """The same grid with fixed bounds."""
        return WeightQuantizer(*self.bounds(), self.bits, bool(-self.first == self.last))


class ActivationRLQ(RLQ):
    """RLQ of a layer's input: ``q(x + tau)``; ``tau`` is not subtracted afterwards.

    Args:
        bits: 2..8.
        k: of ``phi``; 0 for straight-through rounding.
        channels: of the input; None for an operand of a matrix product, which is not shifted.
        channel_axis: -3 before a convolution, -1 before a linear layer.

    Attributes:
        tau: learned shift of each channel, ``C x 1 x 1`` or ``C``; None without channels.
    """

    def __init__(self, bits: int, k: float, channels: int | None, channel_axis: int = -1) -> None:
        super().__init__(bits, k)
        shape = (-1, 1, 1) if channel_axis == -3 else (-1,)
        self.tau = None if channels is None else nn.Parameter(torch.zeros(channels).reshape(shape))

    @torch.no_grad()
    def start(self, values: Tensor) -> None:
        """Choose signed or unsigned codes and the first ``alpha`` from the values of the first batch."""
        self.set_signed(float(values.min()) < NEGATIVE)
        super().start(values)

    def set_signed(self, signed: bool) -> None:
        """Codes ``-2**(bits-1) .. 2**(bits-1)-1``, or ``0 .. 2**bits-1``."""
        levels = 1 << self.bits
        self.first.fill_(-levels // 2 if signed else 0)
        self.last.fill_(levels // 2 - 1 if signed else levels - 1)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same, in float32 also where training computes in bfloat16."""
        x = x.float()
        return self.quantized(x if self.tau is None else x + self.tau)

    def deployable(self) -> ActivationQuantizer:
        """The same grid with fixed bounds."""
        lower, upper = self.bounds()
        if self.tau is None:
            return ActivationQuantizer(lower, upper, self.bits)
        return ShiftedQuantizer(lower, upper, self.bits, self.tau)
