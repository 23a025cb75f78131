"""Steps of window attention that depend on the picture's size, as modules, so that exports can translate each as one.

Features are ``N x H x W x C``; ``Mirror`` makes height and width multiples of the window.
"""

from functools import lru_cache

import torch
from torch import Tensor, nn

from srquant.models.blocks import channel_steps, rectangles
from srquant.models.blocks.rectangles import FORBIDDEN, merge, split


class Mirror(nn.Module):
    """Pad ``N x C x H x W`` with mirrored rows and columns, at least one each, to the next multiple."""

    def __init__(self, multiple: int) -> None:
        super().__init__()
        self.multiple = multiple

    def forward(self, images: Tensor) -> Tensor:
        """``N x C x H x W`` to ``N x C x H' x W'``."""
        for axis in (2, 3):
            size = images.shape[axis]
            length = (size // self.multiple + 1) * self.multiple
            position = torch.arange(length, device=images.device) % (2 * size)
            images = images.index_select(axis, torch.minimum(position, 2 * size - 1 - position))
        return images


class Crop(nn.Module):
    """Removes the rows and columns that ``Mirror`` added at the bottom and right, after upscaling."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, upscaled: Tensor, images: Tensor) -> Tensor:
        """The first ``scale*H`` rows and ``scale*W`` columns, for ``images`` of ``N x C x H x W``."""
        height, width = images.shape[2:]
        return upscaled[..., : height * self.scale, : width * self.scale]


class SplitWindows(nn.Module):
    """``N x H x W x C``, shifted cyclically up and left by ``shift``, to windows ``N*windows x window**2 x C``."""

    def __init__(self, window: int, shift: int) -> None:
        super().__init__()
        self.window, self.shift = window, shift

    def forward(self, x: Tensor) -> Tensor:
        """Windows and the tokens of a window are in row-major order."""
        moved = torch.roll(x, (-self.shift, -self.shift), (1, 2)) if self.shift else x
        return split(moved, (self.window, self.window))


class MergeWindows(nn.Module):
    """Inverse of ``SplitWindows``."""

    def __init__(self, window: int, shift: int) -> None:
        super().__init__()
        self.window, self.shift = window, shift

    def forward(self, windows: Tensor, like: Tensor) -> Tensor:
        """Windows ``N*windows x window**2 x C`` to ``N x H x W x C``, the shape of ``like``."""
        number = like.shape[1] // self.window, like.shape[2] // self.window
        merged = merge(windows, (self.window, self.window), number)
        return torch.roll(merged, (self.shift, self.shift), (1, 2)) if self.shift else merged


class ShiftMask(nn.Module):
    """The mask that prevents attention between tokens that are neighbours only because of the cyclic shift."""

    def __init__(self, window: int, shift: int) -> None:
        super().__init__()
        self.window, self.shift = window, shift

    def forward(self, x: Tensor) -> Tensor:
        """For the windows of ``x``, ``N x H x W x C``: ``windows x window**2 x window**2`` of 0 and -100."""
        make = shift_mask if torch.compiler.is_exporting() else kept_shift_mask  # a trace's sizes are symbols
        return make(x.shape[1], x.shape[2], self.window, self.shift).to(x)


class AddMask(nn.Module):
    """Give scores of pairs that the mask of their window forbids its -100, in all heads.

    OpenVINO would turn the sum of a bias and a mask into one constant as large as all scores.
    """

    def forward(self, scores: Tensor, mask: Tensor) -> Tensor:
        """``N*windows x heads x T x T`` and ``windows x T x T`` to the shape of the scores."""
        forbidden = mask.repeat(scores.shape[0] // mask.shape[0], 1, 1)[:, None] != 0
        return scores.masked_fill(forbidden, FORBIDDEN)


class SplitHeads(nn.Module):
    """``B x T x C`` to ``B x heads x T x C/heads``."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        """Each head takes neighbouring channels."""
        batch, tokens, features = x.shape
        return x.view(batch, tokens, self.heads, features // self.heads).transpose(1, 2)


class MergeHeads(nn.Module):
    """``B x heads x T x C/heads`` to ``B x T x C``."""

    def forward(self, x: Tensor) -> Tensor:
        """Inverse of ``SplitHeads``."""
        return x.transpose(1, 2).flatten(2)


STEPS = (
    *(Mirror, Crop, SplitWindows, MergeWindows, ShiftMask, AddMask, SplitHeads, MergeHeads),
    *rectangles.STEPS,
    *channel_steps.STEPS,
)
"""All steps of attention that depend on the picture's size."""


def shift_mask(height: int, width: int, window: int, shift: int) -> Tensor:
    """The mask of square windows, see ``rectangles.shift_mask``."""
    return rectangles.shift_mask((height, width), (window, window), (shift, shift))


kept_shift_mask = lru_cache(maxsize=16)(shift_mask)
"""The same, kept for pictures of the same size."""
