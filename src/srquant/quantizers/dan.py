"""Dynamic activation range normalisation (DAN of GBA, CVPR 2026): each channel of each sample brings its own range.

>>> quantizer = DANQuantizer(bits=2, channel_axis=1)
>>> quantizer(torch.tensor([0.0, 1.0, 2.2, 3.0]).reshape(1, 1, 1, 4)).flatten()
tensor([0., 1., 2., 3.])
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from srquant.grids.pieces import empty_like, is_channels_last, piece_size
from srquant.grids.uniform import StraightThrough, step_size
from srquant.quantizers.base import ActivationQuantizer, zero_padded
from srquant.quantizers.grid_spec import GridSpec, UniformSpec
from srquant.quantizers.stored import Fields, StoredTensors

SMALLEST_WIDTH = 1e-8
"""Channels that vary less pass unchanged."""

SLACK = 1e-5
"""How far beyond a bound normalised values still count as inside in gradients: the largest one is 1 up to rounding."""

TOGETHER = 32
"""Pixels whose channels, side by side in memory, are treated as one row."""


@dataclass(frozen=True)
class DANSpec(GridSpec):
    """A uniform grid of values that are normalised channel by channel.

    Attributes:
        lower: first grid point, float32, 0-d.
        upper: last grid point, 0-d.
        limits: smallest and largest value that is not clipped before normalisation, float32 ``2``; None: no clipping.
    """

    lower: Tensor
    upper: Tensor
    limits: Tensor | None = None
    kind = "dan"
    static = False

    @property
    def grid(self) -> UniformSpec:
        """Grid of the normalised values."""
        return UniformSpec(self.bits, self.lower, self.upper)

    def tensors(self) -> dict[str, Tensor]:
        """``bounds``: the two of the grid, with limits these two behind them."""
        bounds = torch.stack([self.lower, self.upper])
        return {"bounds": bounds if self.limits is None else torch.cat([bounds, self.limits])}

    def must_be_positive(self) -> dict[str, Tensor]:
        """The step, and the distance between the limits."""
        limits = {} if self.limits is None else {"distance of the input's limits": self.limits[1] - self.limits[0]}
        return self.grid.must_be_positive() | limits

    @classmethod
    def read(cls, fields: Fields, tensors: StoredTensors, channels: int | None) -> "DANSpec":
        """From a file; ``channels`` of a layer's input."""
        if channels is None:
            raise fields.wrong("kind", cls.kind, "another kind of grid: only inputs of layers are normalised")
        bounds = tensors.take("bounds", torch.float32, (2,), (4,))
        return cls(fields.bits("bits"), bounds[0], bounds[1], bounds[2:] if len(bounds) == 4 else None)


class DANQuantizer(ActivationQuantizer):
    """Uniform grid on activations that are normalised to [-1, 1] first, and restored afterwards.

    Smallest and largest value come from the present input: per sample (the first axis; a window in window attention)
    and channel, over everything else. They are constants to gradients. The bounds, 0-d and shared by all channels, are
    those of the normalised values, so a bound of 1 is the channel's largest value.

    Zeros of padding are not part of a channel's range and stay zeros: a layer pads after this quantizer, not before
    it. The step of a channel differs from picture to picture, so it can't be part of integer weights: layers compute in
    float. Papers that it is compared with have static ranges.

    A range that follows the input clips nothing. Where features multiply each other, as in ``x * sigmoid(f(x))``,
    values that are too large make the next ones larger still, so that rounding errors grow from block to block.
    ``limits`` stop that: values are clipped there first.

    Args:
        bits: 2..8.
        channel_axis: 1 before a convolution, -1 before a linear layer.
        limits: smallest and largest value that is not clipped, float32 ``2``; None: nothing is clipped.
    """

    static = False
    layer_pads = True

    def __init__(self, bits: int, channel_axis: int, limits: Tensor | None = None) -> None:
        super().__init__(torch.tensor(-1.0), torch.tensor(1.0), bits)
        self.channel_axis = channel_axis
        self.limits: Tensor | None
        self.register_buffer("limits", limits)

    def forward(self, x: Tensor, bits: Tensor | None = None) -> Tensor:
        """Values to the grid points of their channel, any shape; ``bits`` as ``ActivationQuantizer``."""
        x = clip(x, self.limits)
        smallest, width = channel_range(x, self.channel_axis)
        varies = width > SMALLEST_WIDTH
        width = torch.where(varies, width, 1.0)
        grid_bits = torch.tensor(float(self.bits)) if bits is None else bits
        in_order = x.is_contiguous() or is_channels_last(x)
        if grid_bits.dim() == 0 and x.dim() == 4 and self.channel_axis == 1 and in_order:
            points = _points(x, smallest, width, self.lower, self.upper, grid_bits)
            return points if bool(varies.all()) else torch.where(varies, points, x)
        points = super().forward(normalise(x, smallest, width), bits)
        return torch.where(varies, restore(points, smallest, width), x)

    def padded(self, x: Tensor, padding: tuple[int, int]) -> Tensor:
        """Grid points with zeros around them."""
        return zero_padded(self(x), padding)

    def settle(self, delta: float) -> None:
        """Leave the grid unchanged: its step differs for every picture, so sums don't lie on a lattice."""

    def spec(self) -> DANSpec:
        """The grid of normalised values as it is now."""
        return DANSpec(self.bits, *self.fixed_bounds(), None if self.limits is None else self.limits.clone())


def clip(x: Tensor, limits: Tensor | None) -> Tensor:
    """Values of any shape within ``limits``, smallest and largest; unchanged where there are none."""
    return x if limits is None else torch.clamp(x, limits[0], limits[1])


def channel_range(x: Tensor, channel_axis: int) -> tuple[Tensor, Tensor]:
    """Smallest value and width of each channel of each sample, without gradient.

    Args:
        x: ``N x C x H x W`` (``channel_axis`` 1) or ``N x ... x C`` (-1).
        channel_axis: where the channels are.

    Returns:
        Two tensors that broadcast over ``x``.
    """
    axes = [axis for axis in range(1, x.dim()) if axis != channel_axis % x.dim()]
    values = x.detach()
    smallest = values.amin(axes, keepdim=True) if axes else values
    largest = values.amax(axes, keepdim=True) if axes else values
    return smallest, largest - smallest


def normalise(x: Tensor, smallest: Tensor, width: Tensor) -> Tensor:
    """``smallest`` to -1, ``smallest + width`` to 1 (DAN of GBA)."""
    return 2 * (x - smallest) / width - 1


def restore(normalised: Tensor, smallest: Tensor, width: Tensor) -> Tensor:
    """Inverse of ``normalise``."""
    return (normalised + 1) / 2 * width + smallest


def _points(x: Tensor, smallest: Tensor, width: Tensor, lower: Tensor, upper: Tensor, bits: Tensor) -> Tensor:
    """``restore(fake_quantize_bits(normalise(x)))`` channel by channel, so that each stays in a processor's cache."""
    result: Tensor = _FakeQuantizeChannels.apply(x, smallest, width, lower, upper, bits)  # type: ignore[no-untyped-call]
    return result


class _FakeQuantizeChannels(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, smallest: Tensor, width: Tensor, lower: Tensor, upper: Tensor, bits: Tensor
    ) -> Tensor:
        ctx.levels = round(2 ** float(bits))
        points, step = empty_like(x), step_size(lower, upper, ctx.levels)
        for value, point, least, half in rows(x, points, smallest, width / 2):
            torch.sub(value, least, out=point).div_(half).sub_(1)
            point.sub_(lower).div_(step).round_().clamp_(0, ctx.levels - 1).mul_(step).add_(lower)
            point.add_(1).mul_(half).add_(least)
        ctx.save_for_backward(x, smallest, width, lower, upper, points if any(ctx.needs_input_grad[3:]) else None)
        return points

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, smallest, width, lower, upper, points = ctx.saved_tensors
        inside, straight = empty_like(x), StraightThrough(lower, upper, SLACK)
        if is_channels_last(x):
            grad = grad.contiguous(memory_format=torch.channels_last)
        tensors = x, x if points is None else points, grad, inside, smallest, width / 2
        for value, point, given, kept, least, half in rows(*tensors):
            normalised = torch.addcmul(-1 - least / half, value, 1 / half)
            straight.pass_inside(normalised, given, kept)
            if points is not None:
                straight.add_outside(normalised, (given - kept).mul_(half))
                straight.add_rounding(*(tensor.reshape(-1) for tensor in (value, point, kept)))
        if points is None:
            return inside, None, None, None, None, None
        return inside, None, None, *straight.sums(), straight.sum_of_bits(ctx.levels)


def rows(*tensors: Tensor) -> Iterable[tuple[Tensor, ...]]:
    """Some channels, or some pixels of all channels, at a time: small enough to stay in a processor's cache.

    Args:
        tensors: of one shape ``N x C x H x W`` and one order in memory, the last two ``N x C x 1 x 1``.

    Returns:
        Matrices that broadcast with each other.
    """
    if is_channels_last(tensors[0]):
        return (piece for sample in zip(*tensors, strict=True) for piece in _pixels(*sample))
    height = max(1, piece_size(tensors[0]) // tensors[0][0, 0].numel())
    return zip(*(torch.split(tensor.flatten(0, 1).flatten(1), height) for tensor in tensors), strict=True)


def _pixels(*tensors: Tensor) -> Iterable[tuple[Tensor, ...]]:
    """``rows`` of a sample with its channels last; a row has several pixels, as operations on long rows are faster."""
    *large, least, half = tensors
    channels, pixels = large[0].shape[0], large[0][0].numel()
    together = math.gcd(pixels, TOGETHER)
    matrices = (tensor.permute(1, 2, 0).reshape(-1, together * channels) for tensor in large)
    height = max(1, piece_size(large[0]) // (together * channels))
    least, half = (tensor.reshape(1, channels).repeat(1, together) for tensor in (least, half))
    for piece in zip(*(torch.split(matrix, height) for matrix in matrices), strict=True):
        yield *piece, least, half
