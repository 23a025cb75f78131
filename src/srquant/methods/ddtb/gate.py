"""The quantizers of DDTB (Zhong et al., ECCV 2022): two trainable bounds, scaled for each picture by a dynamic gate.

>>> quantizer = TrainableBoundsQuantizer(torch.tensor(-1.0), torch.tensor(2.2), bits=2)
>>> quantizer(torch.tensor([-2.0, 0.0, 1.0, 9.0])).tolist()
[-1.0666667222976685, 0.0, 1.0666667222976685, 2.133333444595337]
"""

import torch
from torch import Tensor, nn

from srquant.grids.uniform import FEWEST_BITS, MOST_BITS, codes, fake_quantize, fake_quantize_bits, step_size
from srquant.quantizers.base import ActivationQuantizer, InputQuantizer
from srquant.quantizers.by_picture import ConditionalQuantizer
from srquant.quantizers.stored import Json

HIDDEN = 32
"""Channels between the two layers of a gate."""

GATE_BITS = 2

SMALLEST_WIDTH = 1e-3
"""Least distance of scaled bounds, relative to the distance of the bounds themselves."""


def with_zero_point(alpha_l: Tensor, alpha_u: Tensor, levels: int | Tensor) -> tuple[Tensor, Tensor]:
    """Bounds shifted by at most half a step so that zero is a grid point; gradients pass unchanged (DDTB Eq. 4)."""
    with torch.no_grad():
        step = step_size(alpha_l, alpha_u, levels)
        shift = (alpha_l / step).round() * step - alpha_l
    return alpha_l + shift, alpha_u + shift


class TrainableBoundsQuantizer(ActivationQuantizer):
    """Two trainable bounds and an integer zero point; ``lower`` is ``alpha_l``, ``upper`` is ``alpha_u``.

    ``(round(s clip(x, alpha_l, alpha_u) - z) + z) / s`` with ``s = (2**bits - 1) / (alpha_u - alpha_l)`` and
    ``z = round(s alpha_l)`` (Eq. 3, 4).
    """

    def forward(self, x: Tensor, bits: Tensor | None = None) -> Tensor:
        """Values to grid points, any shape; ``bits`` as ``ActivationQuantizer``."""
        if bits is not None:
            return fake_quantize_bits(x, *with_zero_point(self.lower, self.upper, bits.detach().exp2()), bits)
        return fake_quantize(x, *with_zero_point(self.lower, self.upper, self.levels), self.levels)

    @torch.no_grad()
    def deployable(self) -> ActivationQuantizer:
        """The present grid with fixed bounds."""
        return ActivationQuantizer(*with_zero_point(self.lower, self.upper, self.levels), self.bits)


class TernaryLinear(nn.Linear):
    """A linear layer with 2-bit weights ``{-1, 0, 1} * max|W|``, which are quantized again in each forward pass."""

    def forward(self, x: Tensor) -> Tensor:
        """``N x in`` to ``N x out``."""
        largest = self.weight.detach().abs().max().clamp(min=1e-12)
        weight = fake_quantize(self.weight, -largest, largest, (1 << GATE_BITS) - 1)
        return nn.functional.linear(x, weight, self.bias)


class DynamicGate(nn.Module):
    """The dynamic gate: ``W2 relu(norm(W1 mean))``, from the mean of each channel (section 3.2).

    The factors of the bounds are ``(beta_u, beta_l) = 2 sigmoid(output)``.


    Args:
        channels: of the input.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            TernaryLinear(channels, HIDDEN, bias=False),
            nn.BatchNorm1d(HIDDEN),
            nn.ReLU(),
            TernaryLinear(HIDDEN, 2, bias=False),
        )

    def forward(self, means: Tensor) -> Tensor:
        """``N x C`` to ``N x 2``; an output of zero leaves a bound unchanged."""
        result: Tensor = self.layers(means)
        return result


class GatedQuantizer(ConditionalQuantizer):
    """Trainable bounds that a dynamic gate multiplies by two factors in 0..2 for each sample.

    Args:
        bits: 2..8.
        channels: of the input.
        channel_axis: 1 before a convolution, -1 before a linear layer.

    Attributes:
        lower: ``alpha_l``, 0-d.
        upper: ``alpha_u``, 0-d.
        open: whether the gate's factors are applied; otherwise the bounds are static.
        output: the gate's output in the last training pass, ``N x 2``, for the regularisation towards zero.
    """

    kind = "ddtb"

    def __init__(self, bits: int, channels: int, channel_axis: int = 1) -> None:
        super().__init__(bits)
        if not FEWEST_BITS <= bits <= MOST_BITS or channel_axis not in (1, -1) or channels < 1:
            raise ValueError(f"bits {bits}, channels {channels}, channel_axis {channel_axis}")
        self.lower = nn.Parameter(torch.tensor(-1.0))
        self.upper = nn.Parameter(torch.tensor(1.0))
        self.channel_axis = channel_axis
        self.inputs = channels
        self.gate = DynamicGate(channels)
        self.open = True
        self.output: Tensor | None = None

    @property
    def levels(self) -> int:
        """Number of grid points."""
        return 1 << self.bits

    @property
    def channels(self) -> int:
        """Channels that its input must have."""
        return self.inputs

    def settings(self) -> dict[str, Json]:
        """Keyword arguments of the constructor."""
        return {"bits": self.bits, "channels": self.inputs, "channel_axis": self.channel_axis}

    def forward(self, x: Tensor) -> Tensor:
        """Values to the grid points of their sample, any shape."""
        lower, upper = self.bounds(x)
        return fake_quantize(x, *with_zero_point(lower, upper, self.levels), self.levels)

    def codes(self, x: Tensor) -> Tensor:
        """Number of the grid point, from 0."""
        return codes(x, *with_zero_point(*self.bounds(x), self.levels), self.levels)

    def bounds(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Lower and upper bound of each sample, shaped to broadcast over the input; 0-d where the gate is closed."""
        axes = [axis for axis in range(1, x.dim()) if axis != self.channel_axis % x.dim()]
        output = self.gate(x.mean(axes))
        self.output = output if self.training else None
        if not self.open:
            return self.lower, self.upper
        shape = (-1, *[1] * (x.dim() - 1))
        beta_u, beta_l = (beta.reshape(shape) for beta in (2 * output.sigmoid()).unbind(1))
        lower, upper = beta_l * self.lower, beta_u * self.upper
        narrowest = SMALLEST_WIDTH * (self.upper - self.lower).detach()
        return lower, torch.maximum(upper, lower + narrowest)

    @torch.no_grad()
    def deployable(self) -> InputQuantizer:
        """The quantizer itself if its gate is open, otherwise its grid without the gate."""
        return self if self.open else TrainableBoundsQuantizer(self.lower, self.upper, self.bits).deployable()
