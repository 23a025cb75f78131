"""Steps of window attention that depend on the picture's size, as modules, so that exports can translate each as one.

Features are ``N x H x W x C``; ``Mirror`` makes height and width multiples of the window.
"""

from functools import lru_cache

import torch
from torch import Tensor, nn


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
        return split(torch.roll(x, (-self.shift, -self.shift), (1, 2)) if self.shift else x, self.window)


class MergeWindows(nn.Module):
    """Inverse of ``SplitWindows``."""

    def __init__(self, window: int, shift: int) -> None:
        super().__init__()
        self.window, self.shift = window, shift

    def forward(self, windows: Tensor, like: Tensor) -> Tensor:
        """Windows ``N*windows x window**2 x C`` to ``N x H x W x C``, the shape of ``like``."""
        merged = merge(windows, self.window, like.shape[1], like.shape[2])
        return torch.roll(merged, (self.shift, self.shift), (1, 2)) if self.shift else merged


class ShiftMask(nn.Module):
    """The mask that prevents attention between tokens that are neighbours only because of the cyclic shift."""

    def __init__(self, window: int, shift: int) -> None:
        super().__init__()
        self.window, self.shift = window, shift

    def forward(self, x: Tensor) -> Tensor:
        """For the windows of ``x``, ``N x H x W x C``: ``windows x window**2 x window**2`` of 0 and -100."""
        return shift_mask(x.shape[1], x.shape[2], self.window, self.shift).to(x)


class AddMask(nn.Module):
    """Add the mask of each window to the scores of all heads."""

    def forward(self, scores: Tensor, mask: Tensor) -> Tensor:
        """``N*windows x heads x T x T`` and ``windows x T x T`` to the shape of the scores."""
        return (scores.view(-1, len(mask), *scores.shape[1:]) + mask[:, None]).view(scores.shape)


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


STEPS = (Mirror, Crop, SplitWindows, MergeWindows, ShiftMask, AddMask, SplitHeads, MergeHeads)


def split(x: Tensor, window: int) -> Tensor:
    """``N x H x W x C`` to windows ``N*(H/window)*(W/window) x window**2 x C``."""
    batch, height, width, features = x.shape
    tiles = x.view(batch, height // window, window, width // window, window, features)
    return tiles.transpose(2, 3).reshape(-1, window * window, features)


def merge(windows: Tensor, window: int, height: int, width: int) -> Tensor:
    """Inverse of ``split``."""
    features = windows.shape[-1]
    tiles = windows.view(-1, height // window, width // window, window, window, features)
    return tiles.transpose(2, 3).reshape(-1, height, width, features)


@lru_cache(maxsize=16)
def shift_mask(height: int, width: int, window: int, shift: int) -> Tensor:
    """-100 between tokens that are neighbours only because of the cyclic shift, else 0.

    Returns:
        ``windows x window**2 x window**2``.
    """
    regions = 3 * strips(height, window, shift)[:, None] + strips(width, window, shift)[None, :]
    windows = split(regions[None, :, :, None], window)[..., 0]
    return (windows[:, None, :] != windows[:, :, None]) * -100.0


def strips(length: int, window: int, shift: int) -> Tensor:
    """0 before the last window, 1 in it, 2 for positions that the cyclic shift moved there; ``length`` integers."""
    position = torch.arange(length)
    return (position >= length - window).long() + (position >= length - shift).long()
