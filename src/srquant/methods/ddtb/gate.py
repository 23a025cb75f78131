"""Dynamic dual trainable bounds (DDTB, Zhong et al., ECCV 2022): two learned bounds, moved for each picture by a gate.

>>> quantizer = DualBoundQuantizer(torch.tensor(-1.0), torch.tensor(2.2), bits=2)
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
"""Of moved bounds beside the bounds themselves."""


def with_zero(lower: Tensor, upper: Tensor, levels: int | Tensor) -> tuple[Tensor, Tensor]:
    """Bounds moved by at most half a step so that zero is a grid point; gradients pass unchanged (DDTB Eq. 4)."""
    with torch.no_grad():
        step = step_size(lower, upper, levels)
        moved = (lower / step).round() * step - lower
    return lower + moved, upper + moved


class DualBoundQuantizer(ActivationQuantizer):
    """Two learned bounds and an integer zero point.

    ``(round(s clip(x, l, u) - z) + z) / s`` with ``s = (2**bits - 1) / (u - l)`` and ``z`` near ``s l`` (Eq. 3, 4).
    """

    def forward(self, x: Tensor, bits: Tensor | None = None) -> Tensor:
        """Values to grid points, any shape; ``bits`` as ``ActivationQuantizer``."""
        if bits is not None:
            return fake_quantize_bits(x, *with_zero(self.lower, self.upper, bits.detach().exp2()), bits)
        return fake_quantize(x, *with_zero(self.lower, self.upper, self.levels), self.levels)

    @torch.no_grad()
    def deployable(self) -> ActivationQuantizer:
        """The grid as it is now."""
        return ActivationQuantizer(*with_zero(self.lower, self.upper, self.levels), self.bits)


class TernaryLinear(nn.Linear):
    """A linear layer of weights ``{-1, 0, 1} * max|W|``, found anew in every pass: two bits."""

    def forward(self, x: Tensor) -> Tensor:
        """``N x in`` to ``N x out``."""
        largest = self.weight.detach().abs().max().clamp(min=1e-12)
        weight = fake_quantize(self.weight, -largest, largest, (1 << GATE_BITS) - 1)
        return nn.functional.linear(x, weight, self.bias)


class Gate(nn.Module):
    """Mean of each channel to factors of the bounds: ``2 sigmoid(W2 relu(norm(W1 mean)))`` (section 3.2).

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
        """``N x C`` to ``N x 2`` numbers, zero where bounds are to stay."""
        result: Tensor = self.layers(means)
        return result


class GatedQuantizer(ConditionalQuantizer):
    """A ``DualBoundQuantizer`` whose bounds are multiplied by two factors in 0..2 for each sample.

    Args:
        bits: 2..8.
        channels: of the input.
        channel_axis: 1 before a convolution, -1 before a linear layer.

    Attributes:
        open: whether the factors count; before, bounds are static.
        output: of the gate in the last pass in training, ``N x 2``, to be kept near zero.
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
        self.gate = Gate(channels)
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
        return fake_quantize(x, *with_zero(lower, upper, self.levels), self.levels)

    def codes(self, x: Tensor) -> Tensor:
        """Number of the grid point, from 0."""
        return codes(x, *with_zero(*self.bounds(x), self.levels), self.levels)

    def bounds(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Lower and upper bound of each sample, shaped to broadcast over the input; 0-d where the gate is closed."""
        axes = [axis for axis in range(1, x.dim()) if axis != self.channel_axis % x.dim()]
        output = self.gate(x.mean(axes))
        self.output = output if self.training else None
        if not self.open:
            return self.lower, self.upper
        factors = 2 * output.sigmoid()
        shape = (-1, *[1] * (x.dim() - 1))
        upper, lower = (factors[:, i].reshape(shape) * bound for i, bound in enumerate((self.upper, self.lower)))
        narrowest = SMALLEST_WIDTH * (self.upper - self.lower).detach()
        return lower, torch.maximum(upper, lower + narrowest)

    @torch.no_grad()
    def deployable(self) -> InputQuantizer:
        """Itself with an open gate, else the grid without the gate."""
        return self if self.open else DualBoundQuantizer(self.lower, self.upper, self.bits).deployable()
