"""The quantizers of DAQ: channel-wise, distribution-aware quantization (Hong et al., WACV 2022).

Each channel of each sample is normalised to mean 0 and standard deviation 1, quantized with the uniform step that is
best for a normal distribution, and denormalised.

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
"""Best step of a mid-rise grid of ``2**bits`` points for a normal distribution with ``sigma = 1``, by bits."""

STEP_SOURCES = ("code", "table")

LARGEST_CODE = 255


def unit_step(bits: int, source: str) -> float:
    """Step for ``sigma = 1``: ``table`` is that of the bits, ``code`` that of one bit less, as in the released code."""
    if source not in STEP_SOURCES:
        raise ValueError(f"step is {source!r}: use one of {STEP_SOURCES}")
    return STEPS[bits - 1 if source == "code" else bits]


class DAQQuantizer(ConditionalQuantizer):
    """A grid for each sample and channel, from mean ``mu`` and standard deviation ``sigma`` over height and width.

    Signed inputs: ``2**bits`` grid points ``mu + s (k - 1/2)`` with ``s = unit_step * sigma``. Outputs of a ReLU: grid
    points ``s k`` with the ``sigma`` of the positive values and without an upper bound, as in the released code, so
    more than ``2**bits`` points can occur. The gradient in the input is the identity.

    Args:
        bits: 2..8.
        rectified: whether the input is the output of a ReLU.
        step: ``code`` or ``table``, see ``unit_step``.
        spread_bits: of ``sigma``, which is quantized around its mean over channels, 2..8; 0 for float.
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
            centre, s = self.grid(x)
            points = self.positions(x, centre, s) * s + centre
        return straight_through(points, x)

    def codes(self, x: Tensor) -> Tensor:
        """Number of the grid point, counted from the centre (``mu``, or 0 after a ReLU); at most 255."""
        return self.positions(x, *self.grid(x)).floor().clamp(max=LARGEST_CODE)

    def grid(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Centre and step ``s`` of each sample's channels, shaped to broadcast over the input."""
        axes = [axis for axis in range(1, x.dim()) if axis != self.channel_axis % x.dim()]
        mu, sigma = _mean_and_sigma_of_positive(x, axes) if self.rectified else _mean_and_sigma(x, axes)
        if self.spread_bits:
            sigma = _quantized_sigma(sigma, self.spread_bits, self.step, self.channel_axis)
        centre = torch.zeros_like(mu) if self.rectified else mu
        return centre, (self.unit_step * sigma).clamp(min=0)

    def positions(self, x: Tensor, centre: Tensor, s: Tensor) -> Tensor:
        """Nearest grid points, in steps from the centre; 0 where all values of a channel are equal."""
        varies = s > 0
        steps = (x - centre) / torch.where(varies, s, 1.0)
        if self.rectified:
            return torch.where(varies, steps.round(), 0.0)
        return torch.where(varies, mid_rise(steps, self.bits), 0.0)


def mid_rise(steps: Tensor, bits: int) -> Tensor:
    """The nearest of the ``2**bits`` points ..., -3/2, -1/2, 1/2, 3/2, ...; any shape."""
    half = 1 << (bits - 1)
    return (steps + 0.5).round().clamp(1 - half, half) - 0.5


def _mean_and_sigma(x: Tensor, axes: list[int]) -> tuple[Tensor, Tensor]:
    """Mean and unbiased standard deviation along axes, which are kept with size 1."""
    mu = x.mean(axes, keepdim=True)
    count = x.numel() // mu.numel()
    return mu, ((x - mu).square().sum(axes, keepdim=True) / max(1, count - 1)).sqrt()


def _mean_and_sigma_of_positive(x: Tensor, axes: list[int]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the positive values; as in the released code, their number is one too large."""
    count = (x > 0).sum(axes, keepdim=True) + 1
    mu = x.sum(axes, keepdim=True) / count
    return mu, (x.square().sum(axes, keepdim=True) / count - mu.square()).clamp(min=0).sqrt()


def _quantized_sigma(sigma: Tensor, bits: int, source: str, channel_axis: int) -> Tensor:
    """``sigma`` of all channels on a mid-rise grid around its mean over the channels of a sample."""
    mu, deviation = _mean_and_sigma(sigma, [channel_axis])
    s = unit_step(bits, source) * deviation
    varies = s > 0
    positions = mid_rise((sigma - mu) / torch.where(varies, s, 1.0), bits)
    return torch.where(varies, positions * s, 0.0) + mu


class StdWeightQuantizer(WeightQuantizer):
    """Symmetric grid with a step from the weight's present standard deviation; gradients pass unchanged.

    Args:
        bits: 2..8.
        step: ``code`` or ``table``, see ``unit_step``.
    """

    def __init__(self, bits: int, step: str) -> None:
        super().__init__(torch.tensor(-1.0), torch.tensor(1.0), bits, symmetric=True)
        self.requires_grad_(False)
        self.step = step

    def last_point(self, weight: Tensor, bits: int) -> Tensor:
        """Last grid point for a weight, 0-d."""
        return weight.detach().std() * unit_step(bits, self.step) * (weight_levels(bits) - 1) / 2

    def forward(self, weight: Tensor, bits: Tensor | None = None) -> Tensor:
        """Values to grid points, shape of the weight; ``bits`` (0-d, no gradient) replaces the quantizer's own."""
        whole = self.bits if bits is None else int(bits)
        upper = self.last_point(weight, whole)
        return straight_through(fake_quantize(weight.detach(), -upper, upper, weight_levels(whole)), weight)

    def learned_bound(self) -> None:
        """None: the grid is computed from the weight."""

    def deployable(self, weight: Tensor) -> WeightQuantizer:
        """The static grid for a trained weight."""
        upper = self.last_point(weight, self.bits)
        return WeightQuantizer(-upper, upper, self.bits, symmetric=True)
