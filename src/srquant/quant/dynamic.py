"""Dynamic activation range normalisation (DAN of GBA, CVPR 2026): each channel of each sample brings its own range.

>>> quantizer = DynamicQuantizer(bits=2, channel_axis=1)
>>> quantizer(torch.tensor([0.0, 1.0, 2.2, 3.0]).reshape(1, 1, 1, 4)).flatten()
tensor([0., 1., 2., 3.])
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from srquant.quant.grid import PIECE, step_size, straight_through
from srquant.quant.quantizers import ActivationQuantizer

SMALLEST_WIDTH = 1e-8
"""Channels that vary less pass unchanged."""


class DynamicQuantizer(ActivationQuantizer):
    """Uniform grid on activations that are brought to [-1, 1] first, and back afterwards.

    Smallest and largest value come from the present input: per sample (the first axis; a window in window attention)
    and channel, over everything else. They are constants to gradients. The bounds, 0-d and shared by all channels, are
    those of the normalised values, so a bound of 1 is the channel's largest value.

    Zeros of padding are no part of a channel's range and stay zeros: a layer pads behind this quantizer, not before
    it. The step of a channel is another one for every picture, so no integer engine can have it in its weights:
    layers compute in float, and ranges are dynamic where papers compare static ones.

    Args:
        bits: 2..8.
        channel_axis: 1 before a convolution, -1 before a linear layer.
    """

    def __init__(self, bits: int, channel_axis: int) -> None:
        super().__init__(torch.tensor(-1.0), torch.tensor(1.0), bits)
        self.channel_axis = channel_axis

    def forward(self, x: Tensor, bits: Tensor | None = None) -> Tensor:
        """Values to the grid points of their channel, any shape; ``bits`` as ``ActivationQuantizer``."""
        smallest, width = channel_range(x, self.channel_axis)
        varies = width > SMALLEST_WIDTH
        width = torch.where(varies, width, 1.0)
        if bits is None and x.dim() == 4 and self.channel_axis == 1 and x.is_contiguous():
            points = _points(x, smallest, width, self.lower, self.upper, self.levels)
            return points if bool(varies.all()) else torch.where(varies, points, x)
        points = super().forward(normalise(x, smallest, width), bits)
        return torch.where(varies, restore(points, smallest, width), x)

    def padded(self, x: Tensor, padding: tuple[int, int]) -> Tensor:
        """Grid points with zeros around them."""
        vertical, horizontal = padding
        return F.pad(self(x), (horizontal, horizontal, vertical, vertical))


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


def _points(x: Tensor, smallest: Tensor, width: Tensor, lower: Tensor, upper: Tensor, levels: int) -> Tensor:
    """``restore(fake_quantize(normalise(x)))`` channel by channel, so that each stays in a processor's cache."""
    result: Tensor = _FakeQuantizeChannels.apply(x, smallest, width, lower, upper, levels)  # type: ignore[no-untyped-call]
    return result


class _FakeQuantizeChannels(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, smallest: Tensor, width: Tensor, lower: Tensor, upper: Tensor, levels: int
    ) -> Tensor:
        ctx.save_for_backward(x, smallest, width, lower, upper)
        ctx.levels = levels
        points, step = torch.empty_like(x), step_size(lower, upper, levels)
        for value, point, least, wide in rows(x, points, smallest, width):
            torch.sub(value, least, out=point).mul_(2).div_(wide).sub_(1)
            point.sub_(lower).div_(step).round_().clamp_(0, levels - 1).mul_(step).add_(lower)
            point.add_(1).div_(2).mul_(wide).add_(least)
        return points

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, smallest, width, lower, upper = ctx.saved_tensors
        inside = torch.empty_like(x)
        low, high = torch.zeros_like(lower), torch.zeros_like(upper)
        for value, given, kept, least, wide in rows(x, grad.contiguous(), inside, smallest, width):
            normalised = torch.sub(value, least).mul_(2).div_(wide).sub_(1)
            sums = straight_through(normalised, given, lower, upper, ctx.levels, kept, any(ctx.needs_input_grad[3:5]))
            if sums is not None:
                low += (sums[0] * wide).sum() / 2
                high += (sums[1] * wide).sum() / 2
        return inside, None, None, low, high, None


def rows(*tensors: Tensor) -> Iterable[tuple[Tensor, ...]]:
    """Contiguous tensors ``N x C x ...`` as matrices with a row per sample and channel, some rows at a time."""
    height = max(1, PIECE // tensors[0][0, 0].numel())
    return zip(*(torch.split(tensor.flatten(0, 1).flatten(1), height) for tensor in tensors), strict=True)
