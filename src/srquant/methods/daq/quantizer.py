"""DAQ: channel-wise, distribution-aware quantization (Hong et al., WACV 2022).

Each channel of each sample is brought to zero mean and unit deviation, put on the uniform grid that is best for a
normal distribution, and brought back.

>>> quantizer = DAQQuantizer(bits=2, rectified=False, step="table", spread_bits=0)
>>> quantizer(torch.tensor([-2.0, -1.0, 1.0, 2.0]).reshape(1, 1, 1, 4)).flatten()
tensor([-2.7277, -0.9092,  0.9092,  2.7277])
"""

import torch
from torch import Tensor

from srquant.grids.straight_through import straight_through
from srquant.grids.uniform import FEWEST_BITS, MOST_BITS, fake_quantize
from srquant.quantizers.base import WeightQuantizer
from srquant.quantizers.by_picture import ConditionalQuantizer
from srquant.quantizers.integer_weight import weight_levels
from srquant.quantizers.stored import Json

STEPS = {1: 1.596, 2: 0.996, 3: 0.586, 4: 0.335, 5: 0.188, 6: 0.104, 7: 0.057, 8: 0.031}
"""Best step of a mid-rise grid of ``2**bits`` points for a normal distribution of unit deviation, by bits."""

READINGS = ("code", "table")

LARGEST_CODE = 255


def unit_step(bits: int, reading: str) -> float:
    """Step in deviations: of a grid of one bit less, as the released code looks it up, or of the bits themselves."""
    if reading not in READINGS:
        raise ValueError(f"step {reading!r} is none of {READINGS}")
    return STEPS[bits - 1 if reading == "code" else bits]


class DAQQuantizer(ConditionalQuantizer):
    """Grid per sample and channel from the mean and the deviation of the input over height and width.

    Signed inputs: ``mean + step * (k - 1/2)`` with ``2**bits`` points. Inputs behind a ReLU: ``step * k`` with the
    deviation of the positive values and no upper end, as in the released code, so that more than ``2**bits`` points
    can occur. Statistics are constants to gradients; the gradient in the input is the identity.

    Args:
        bits: 2..8.
        rectified: whether no input is negative.
        step: ``code`` or ``table``, see ``unit_step``.
        spread_bits: of the deviations themselves, on a grid around their mean over channels, 2..8; 0 leaves them.
        channel_axis: 1 before a convolution, -1 before a linear layer.
    """

    kind = "daq"

    def __init__(self, bits: int, rectified: bool, step: str, spread_bits: int, channel_axis: int = 1) -> None:
        super().__init__(bits)
        if not FEWEST_BITS <= bits <= MOST_BITS or spread_bits not in (0, *range(FEWEST_BITS, MOST_BITS + 1)):
            raise ValueError(f"bits {bits}, spread_bits {spread_bits}")
        if channel_axis not in (1, -1):
            raise ValueError(f"channel_axis {channel_axis}")
        self.rectified = rectified
        self.step = step
        self.unit_step = unit_step(bits, step)
        self.spread_bits = spread_bits
        self.channel_axis = channel_axis

    def settings(self) -> dict[str, Json]:
        """Keyword arguments of the constructor."""
        return {
            "bits": self.bits,
            "rectified": self.rectified,
            "step": self.step,
            "spread_bits": self.spread_bits,
            "channel_axis": self.channel_axis,
        }

    def forward(self, x: Tensor) -> Tensor:
        """Values to the grid points of their channel, any shape."""
        with torch.no_grad():
            centre, step = self.grid(x)
            points = self.positions(x, centre, step) * step + centre
        return straight_through(points, x)

    def codes(self, x: Tensor) -> Tensor:
        """Number of the grid point, counted from the centre; at most 255."""
        return self.positions(x, *self.grid(x)).floor().clamp(max=LARGEST_CODE)

    def grid(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Centre and step of each sample's channels, shaped to broadcast over the input."""
        axes = [axis for axis in range(1, x.dim()) if axis != self.channel_axis % x.dim()]
        mean, deviation = _positive_mean_and_deviation(x, axes) if self.rectified else _mean_and_deviation(x, axes)
        if self.spread_bits:
            deviation = _on_own_grid(deviation, self.spread_bits, self.step, self.channel_axis)
        centre = torch.zeros_like(mean) if self.rectified else mean
        return centre, (self.unit_step * deviation).clamp(min=0)

    def positions(self, x: Tensor, centre: Tensor, step: Tensor) -> Tensor:
        """Where the nearest grid points are, in steps from the centre; 0 where all values of a channel are alike."""
        varies = step > 0
        steps = (x - centre) / torch.where(varies, step, 1.0)
        if self.rectified:
            return torch.where(varies, steps.round(), 0.0)
        return torch.where(varies, mid_rise(steps, self.bits), 0.0)


def mid_rise(steps: Tensor, bits: int) -> Tensor:
    """The nearest of the ``2**bits`` halves -..., -1/2, 1/2, ... around zero."""
    half = 1 << (bits - 1)
    return (steps + 0.5).round().clamp(1 - half, half) - 0.5


def _mean_and_deviation(x: Tensor, axes: list[int]) -> tuple[Tensor, Tensor]:
    """Mean and deviation (of a sample) along axes, kept with size 1."""
    mean = x.mean(axes, keepdim=True)
    count = x.numel() // mean.numel()
    return mean, ((x - mean).square().sum(axes, keepdim=True) / max(1, count - 1)).sqrt()


def _positive_mean_and_deviation(x: Tensor, axes: list[int]) -> tuple[Tensor, Tensor]:
    """Mean and deviation of the positive values, which are counted as one more, as in the released code."""
    count = (x > 0).sum(axes, keepdim=True) + 1
    mean = x.sum(axes, keepdim=True) / count
    return mean, (x.square().sum(axes, keepdim=True) / count - mean.square()).clamp(min=0).sqrt()


def _on_own_grid(deviations: Tensor, bits: int, reading: str, channel_axis: int) -> Tensor:
    """Deviations of channels on a mid-rise grid around their mean over the channels of a sample."""
    mean, deviation = _mean_and_deviation(deviations, [channel_axis])
    step = unit_step(bits, reading) * deviation
    varies = step > 0
    positions = mid_rise((deviations - mean) / torch.where(varies, step, 1.0), bits)
    return torch.where(varies, positions * step, 0.0) + mean


class DAQWeightQuantizer(WeightQuantizer):
    """Symmetric grid whose step follows the weight's deviation while it is trained; gradients pass unchanged.

    Args:
        bits: 2..8.
        step: ``code`` or ``table``, see ``unit_step``.
    """

    def __init__(self, bits: int, step: str) -> None:
        super().__init__(torch.tensor(-1.0), torch.tensor(1.0), bits, symmetric=True)
        self.requires_grad_(False)
        self.step = step

    def last_point(self, weight: Tensor, bits: int) -> Tensor:
        """Upper end of the grid for a weight, 0-d."""
        return weight.detach().std() * unit_step(bits, self.step) * (weight_levels(bits) - 1) / 2

    def forward(self, weight: Tensor, bits: Tensor | None = None) -> Tensor:
        """Values to grid points, shape of the weight; ``bits`` (0-d) instead of its own, without a gradient."""
        whole = self.bits if bits is None else int(bits)
        upper = self.last_point(weight, whole)
        return straight_through(fake_quantize(weight.detach(), -upper, upper, weight_levels(whole)), weight)

    def learned_bound(self) -> None:
        """None: the grid follows the weight."""

    def deployable(self, weight: Tensor) -> WeightQuantizer:
        """The static grid of a trained weight."""
        upper = self.last_point(weight, self.bits)
        return WeightQuantizer(-upper, upper, self.bits, symmetric=True)
