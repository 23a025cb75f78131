"""Dynamic activation range normalisation (DAN of GBA, CVPR 2026): each channel of each sample brings its own range.

>>> quantizer = DynamicQuantizer(bits=2, channel_axis=1)
>>> quantizer(torch.tensor([0.0, 1.0, 2.2, 3.0]).reshape(1, 1, 1, 4)).flatten()
tensor([0., 1., 2., 3.])
"""

import torch
from torch import Tensor
from torch.nn import functional as F

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
