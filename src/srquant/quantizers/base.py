"""Quantizers with learnable bounds: one for activations, one for weights."""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srquant.grids.uniform import codes, fake_quantize, fake_quantize_bits, relative_step, step_size, zero_point
from srquant.quantizers.grid_spec import GridSpec, UniformSpec
from srquant.quantizers.integer_weight import LARGEST_INTEGER, IntegerWeight, weight_levels

ON_GRID = 1e-3
"""Zero counts as a grid point if it is less than this many steps from one; OpenVINO 2026.4 does so below 2e-4."""

WHOLE = 1e-4
"""A weight grid whose nearest point to zero is at most this many steps away needs no change to be an integer grid."""


HALF_PRECISION = (torch.bfloat16, torch.float16)


class InputQuantizer(nn.Module):
    """Base of activation quantizers: they put the input of a layer, a sum or an operand on grid points.

    Each kind of quantizer defines how it pads, how it settles on the lattice, which numbers files and engines need from
    it (``spec``), and which quantizer replaces it after training (``deployable``).

    Args:
        bits: 2..8; the most where they depend on the picture.

    Attributes:
        static: whether the grid is the same for every picture, as integer convolutions need.
        layer_pads: whether a convolution itself pads the grid points with zeros; else ``padded`` does so before it.
    """

    static = True
    layer_pads = False

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits

    def __call__(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Values to grid points, computed in float32 at least: training in bfloat16 must not change the rounding."""
        if x.dtype not in HALF_PRECISION:
            return cast(Tensor, super().__call__(x, *args, **kwargs))
        with torch.autocast(x.device.type, enabled=False):
            return cast(Tensor, super().__call__(x.float(), *args, **kwargs))

    def padded(self, x: Tensor, padding: tuple[int, int]) -> Tensor:
        """Grid points with zeros around them (rows above and below, columns left and right)."""
        return zero_padded(self(x), padding)

    def relative_step(self) -> Tensor | None:
        """Step of each channel over the mean step, shape of the bounds; None where all channels share one step."""
        return None

    def settle(self, delta: float) -> None:
        """Move the grid onto the lattice of multiples of ``delta``, a power of two, in place."""

    def spec(self) -> GridSpec:
        """The numbers that files and engines need, on the quantizer's device."""
        raise NotImplementedError

    def deployable(self) -> "InputQuantizer":
        """The quantizer that replaces this one after training: itself, unless this kind is for training only."""
        return self


def zero_padded(x: Tensor, padding: tuple[int, int]) -> Tensor:
    """``N x C x H x W`` with zeros around: rows above and below, columns left and right."""
    vertical, horizontal = padding
    return F.pad(x, (horizontal, horizontal, vertical, vertical))


class ActivationQuantizer(InputQuantizer):
    """Uniform grid between learnable bounds, one pair per tensor or per input channel.

    Integer engines run grids per channel as well: a channel's step becomes part of its weights, its offset of the bias.

    Args:
        lower: first grid point; 0-d, or one per channel, broadcastable to the input (``C x 1 x 1`` before a
            convolution, ``C`` before a linear layer).
        upper: last grid point, same shape, above ``lower``.
        bits: 2..8.
        narrow: whether the grid has ``2**bits - 1`` points, as grids that have a zero and are symmetric around it.
    """

    def __init__(self, lower: Tensor, upper: Tensor, bits: int, narrow: bool = False) -> None:
        super().__init__(bits)
        self.lower = nn.Parameter(lower.detach().clone())
        self.upper = nn.Parameter(upper.detach().clone())
        self.narrow = narrow

    @property
    def levels(self) -> int:
        """Number of grid points."""
        return (1 << self.bits) - self.narrow

    def forward(self, x: Tensor, bits: Tensor | None = None) -> Tensor:
        """Values to grid points, any shape.

        Args:
            x: any shape.
            bits: learned bits, see ``fake_quantize_bits``; None for those of the quantizer.
        """
        if bits is not None:
            return fake_quantize_bits(x, self.lower, self.upper, bits, self.narrow)
        return fake_quantize(x, self.lower, self.upper, self.levels)

    def padded(self, x: Tensor, padding: tuple[int, int]) -> Tensor:
        """Grid points of the input padded with zeros (rows above and below, columns left and right)."""
        points: Tensor = self(zero_padded(x, padding))
        return points

    def step(self) -> Tensor:
        """Distance between grid points, shape of the bounds."""
        return step_size(self.lower, self.upper, self.levels)

    def relative_step(self) -> Tensor | None:
        """Step of each channel over the mean step, shape of the bounds; None where all channels share one grid."""
        return relative_step(self.lower.detach(), self.upper.detach())

    def deployable(self) -> "ActivationQuantizer":
        """The quantizer that replaces this one after training: itself, unless this kind is for training only."""
        return self

    def width(self) -> Tensor:
        """Distance between the bounds, shape of the bounds, no gradient."""
        return self.upper.detach() - self.lower.detach()

    @torch.no_grad()
    def keep_apart(self, narrowest: Tensor) -> None:
        """Move the upper bound up where the grid is narrower than ``narrowest``, shape of the bounds."""
        self.upper.copy_(torch.maximum(self.upper, self.lower + narrowest))

    @torch.no_grad()
    def scale(self, factor: float) -> None:
        """Multiply the bounds, in place; with a negative factor lower and upper change places."""
        _scale_bounds(self.lower, self.upper, factor)

    @torch.no_grad()
    def settle(self, delta: float) -> None:
        """Move the lower bound to a multiple of ``delta``, the step to an odd one; a grid point at zero stays there."""
        last = self.levels - 1
        zero = -self.lower / self.step()
        holds_zero = (zero - zero.round()).abs() < ON_GRID
        steps = (self.upper - self.lower) / (last * delta)
        odd = 2 * ((steps - 1) / 2).round().clamp(min=0) + 1
        nearest = (self.lower / delta).round() * delta
        self.lower.copy_(torch.where(holds_zero, -zero.round() * odd * delta, nearest))
        self.upper.copy_(self.lower + odd * last * delta)

    @torch.no_grad()
    def hold_zero(self, middle: bool) -> None:
        """Move the grid so that zero is one of its points: the first one if nothing is negative.

        Args:
            middle: the middle point ``levels/2``; the grid gets wider. Else the nearest one; the width stays.
        """
        last, zero = self.levels - 1, zero_point(self.lower, self.upper, self.levels).clamp(1, self.levels - 2)
        step = self.step()
        if middle:
            zero = torch.full_like(zero, self.levels // 2)
            step = torch.maximum(-self.lower / zero, self.upper / (last - zero))
        signed = self.lower < 0
        self.lower.copy_(torch.where(signed, -zero * step, 0.0))
        self.upper.copy_(torch.where(signed, (last - zero) * step, self.upper))

    def spec(self) -> GridSpec:
        """The grid as it is now."""
        return UniformSpec(self.bits, *self.fixed_bounds(), self.narrow)

    def fixed_bounds(self) -> tuple[Tensor, Tensor]:
        """Copies of both bounds, 0-d or one value per channel, no gradient."""
        shape = () if self.lower.dim() == 0 else (-1,)
        lower, upper = (bound.detach().reshape(shape).clone() for bound in (self.lower, self.upper))
        return lower, upper


class WeightQuantizer(nn.Module):
    """Uniform grid of a weight tensor, representable by integers without a zero point.

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

    Attributes:
        full_gradient: whether the gradient in the bounds needs the gradient in every weight: ``forward`` gets bits that
            are being learned too, or hooks give the bounds another gradient.
    """

    def __init__(self, lower: Tensor, upper: Tensor, bits: int, symmetric: bool) -> None:
        super().__init__()
        self.bits = bits
        self.full_gradient = False
        self.symmetric = symmetric
        self.lower = None if symmetric else nn.Parameter(lower.detach().clone())
        self.upper = nn.Parameter(upper.detach().clone())

    @property
    def levels(self) -> int:
        """Number of grid points."""
        return weight_levels(self.bits)

    def grid(self) -> tuple[Tensor, Tensor]:
        """First and last grid point, moved so that integers can represent the grid."""
        bound = self.single_bound()
        if bound is not None:
            return -bound, bound
        assert self.lower is not None
        with torch.no_grad():
            multiplier, shift = self._integer_form()
            moved = step_size(self.lower, self.upper, self.levels) / multiplier * shift - self.lower
        return self.lower + moved, self.upper + moved

    def deployable(self, weight: Tensor) -> "WeightQuantizer":
        """The quantizer that replaces this one after training: itself, unless this kind is for training only."""
        return self

    def width(self) -> Tensor:
        """Distance between the bounds, shape of the bounds, no gradient."""
        upper = self.upper.detach()
        return 2 * upper if self.lower is None else upper - self.lower.detach()

    @torch.no_grad()
    def keep_apart(self, narrowest: Tensor) -> None:
        """Move the upper bound up where the grid is narrower than ``narrowest``, shape of the bounds."""
        if self.lower is None:
            self.upper.clamp_(min=narrowest / 2)
        else:
            self.upper.copy_(torch.maximum(self.upper, self.lower + narrowest))

    @torch.no_grad()
    def scale(self, factor: float) -> None:
        """Multiply the bounds, in place; with a negative factor lower and upper change places."""
        if self.lower is None:
            self.upper.mul_(abs(factor))
        else:
            _scale_bounds(self.lower, self.upper, factor)

    def single_bound(self) -> Tensor | None:
        """``u`` of a grid ``-u..u``; None for a grid with two bounds."""
        if self.lower is None:
            return self.upper
        return torch.maximum(-self.lower, self.upper) if self.levels > 2 * LARGEST_INTEGER else None

    def learned_bound(self) -> Tensor | None:
        """The bound of a grid ``-u..u``, if it is being learned and grid points depend on nothing else, else None.

        Such a bound has a cheaper backward pass, see ``grids.weight_bound_gradient``. Subclasses whose grid points
        depend on more than this bound return None.
        """
        bound = None if self.full_gradient else self.single_bound()
        return bound if bound is not None and bound.requires_grad else None

    def __call__(self, weight: Tensor) -> Tensor:
        """Values to grid points, shape of the weight."""
        return cast(Tensor, super().__call__(weight))

    def forward(self, weight: Tensor, bits: Tensor | None = None) -> Tensor:
        """Values to grid points, shape of the weight; with ``2**bits`` levels where ``bits`` are given."""
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


def _scale_bounds(lower: Tensor, upper: Tensor, factor: float) -> None:
    scaled = lower * factor, upper * factor
    lower.copy_(torch.minimum(*scaled))
    upper.copy_(torch.maximum(*scaled))
