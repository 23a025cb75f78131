"""Quantizers with learnable bounds: one for activations, one for weights."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srquant.grids.uniform import codes, fake_quantize, fake_quantize_bits, relative_step, step_size

LARGEST_INTEGER = 127
"""Weights of the integer engines lie in -127..127."""

WHOLE = 1e-4
"""Zero is a point of a weight grid that misses it by at most this many steps; such a grid is integer as it is."""


def weight_levels(bits: int) -> int:
    """Points of a weight grid: ``2**bits``, at 8 bits 255 so that -127..127 hold them."""
    return min(1 << bits, 2 * LARGEST_INTEGER + 1)


class ActivationQuantizer(nn.Module):
    """Uniform grid between learnable bounds, one pair per tensor or per input channel.

    Integer engines run grids per channel as well: a channel's step moves into its weights, its offset into the bias.

    Args:
        lower: first grid point; 0-d, or broadcastable to the input where each channel has its own (``C x 1 x 1``
            before a convolution, ``C`` before a linear layer).
        upper: last grid point, same shape, above ``lower``.
        bits: 2..8.
        narrow: whether the grid has ``2**bits - 1`` points, as grids that are symmetric around a zero have.
    """

    def __init__(self, lower: Tensor, upper: Tensor, bits: int, narrow: bool = False) -> None:
        super().__init__()
        self.lower = nn.Parameter(lower.detach().clone())
        self.upper = nn.Parameter(upper.detach().clone())
        self.bits = bits
        self.narrow = narrow

    @property
    def levels(self) -> int:
        """Number of grid points."""
        return (1 << self.bits) - self.narrow

    def forward(self, x: Tensor, bits: Tensor | None = None) -> Tensor:
        """Values to grid points, any shape; of ``2**bits`` levels where bits are being learned."""
        if bits is not None:
            return fake_quantize_bits(x, self.lower, self.upper, bits)
        return fake_quantize(x, self.lower, self.upper, self.levels)

    def padded(self, x: Tensor, padding: tuple[int, int]) -> Tensor:
        """Zeros around (rows above and below, columns left and right), then grid points."""
        vertical, horizontal = padding
        points: Tensor = self(F.pad(x, (horizontal, horizontal, vertical, vertical)))
        return points

    def step(self) -> Tensor:
        """Distance between grid points, shape of the bounds."""
        return step_size(self.lower, self.upper, self.levels)

    def relative_step(self) -> Tensor | None:
        """Step of each channel over their mean, shape of the bounds; None where all channels share one grid."""
        return relative_step(self.lower.detach(), self.upper.detach())


@dataclass(frozen=True)
class IntegerWeight:
    """A weight tensor on its grid: ``scale * (multiplier * codes + shift)``.

    Attributes:
        codes: uint8 in 0..levels-1, shape of the weight.
        scale: float32 ``C_out``.
        multiplier: int16 ``C_out``.
        shift: int16 ``C_out``; ``multiplier * codes + shift`` lies in -127..127.
    """

    codes: Tensor
    scale: Tensor
    multiplier: Tensor
    shift: Tensor

    def integers(self) -> Tensor:
        """int8 weights of the integer engines, shape of the weight."""
        return (self._per_row(self.multiplier) * self.codes + self._per_row(self.shift)).to(torch.int8)

    def values(self) -> Tensor:
        """The weights they stand for, float64."""
        return self.integers() * self._per_row(self.scale).double()

    def _per_row(self, values: Tensor) -> Tensor:
        return values.view(-1, *[1] * (self.codes.dim() - 1))


class WeightQuantizer(nn.Module):
    """Uniform grid of a weight tensor that is also an integer grid without a zero point.

    ``symmetric``: bounds ``-upper, upper``. At b < 8 bits the grid has no zero: ``upper/(2**b-1)`` times odd integers.
    At 8 bits it is ``upper/127`` times -127..127.

    Two bounds: ``lower + step*k`` is moved by at most ``step/(2m)`` to ``step/m * (m*k + c)`` with the largest integer
    ``m`` that fits into -127..127; where zero is a grid point ``m`` is 1 and nothing moves. At 8 bits no asymmetric
    grid fits and the wider bound serves both sides.

    Args:
        lower: first grid point, 0-d or ``C_out x 1 ...``; ignored where symmetric.
        upper: last grid point, same shape.
        bits: 2..8.
        symmetric: whether ``-upper`` is the lower bound.
    """

    def __init__(self, lower: Tensor, upper: Tensor, bits: int, symmetric: bool) -> None:
        super().__init__()
        self.bits = bits
        self.symmetric = symmetric
        self.lower = None if symmetric else nn.Parameter(lower.detach().clone())
        self.upper = nn.Parameter(upper.detach().clone())

    @property
    def levels(self) -> int:
        """Number of grid points."""
        return weight_levels(self.bits)

    def grid(self) -> tuple[Tensor, Tensor]:
        """First and last grid point, moved to where integers can express them."""
        bound = self.single_bound()
        if bound is not None:
            return -bound, bound
        assert self.lower is not None
        with torch.no_grad():
            multiplier, shift = self._integer_form()
            moved = step_size(self.lower, self.upper, self.levels) / multiplier * shift - self.lower
        return self.lower + moved, self.upper + moved

    def single_bound(self) -> Tensor | None:
        """``u`` of a grid ``-u..u``; None where each side has its own bound."""
        if self.lower is None:
            return self.upper
        return torch.maximum(-self.lower, self.upper) if self.levels > 2 * LARGEST_INTEGER else None

    def __call__(self, weight: Tensor) -> Tensor:
        """Values to grid points, shape of the weight."""
        return cast(Tensor, super().__call__(weight))

    def forward(self, weight: Tensor, bits: Tensor | None = None) -> Tensor:
        """Values to grid points, shape of the weight; of ``2**bits`` levels where bits are being learned."""
        lower, upper = self.grid()
        if bits is not None:
            return fake_quantize_bits(weight, lower, upper, bits)
        return fake_quantize(weight, lower, upper, self.levels)

    @torch.no_grad()
    def integer_weight(self, weight: Tensor) -> IntegerWeight:
        """The same grid points as integers."""
        lower, upper = self.grid()
        step = step_size(lower, upper, self.levels)
        multiplier, shift = self._integer_form()
        rows = weight.shape[0]
        return IntegerWeight(
            codes(weight, lower, upper, self.levels).to(torch.uint8),
            (step / multiplier).flatten().expand(rows).contiguous(),
            multiplier.flatten().expand(rows).to(torch.int16),
            shift.flatten().expand(rows).to(torch.int16),
        )

    def _integer_form(self) -> tuple[Tensor, Tensor]:
        """``m`` and ``c`` of ``step/m * (m*k + c)``, shape of the bounds."""
        last = self.levels - 1
        if self.lower is None or self.levels > 2 * LARGEST_INTEGER:
            multiplier = torch.full_like(self.upper, 1 if last % 2 == 0 else 2)
            return multiplier, -multiplier * last / 2
        position = self.lower / step_size(self.lower, self.upper, self.levels)
        candidates = torch.arange(1, LARGEST_INTEGER + 1, device=position.device)
        shifts = (candidates * position.unsqueeze(-1)).round()
        fits = (shifts >= -LARGEST_INTEGER) & (candidates * last + shifts <= LARGEST_INTEGER)
        whole = (position - position.round()).abs() < WHOLE
        multiplier = torch.where(fits & ~whole.unsqueeze(-1), candidates, 1).amax(-1)
        shift = (multiplier * position).round().clamp(-LARGEST_INTEGER, LARGEST_INTEGER - last)
        return multiplier.to(position.dtype), shift
