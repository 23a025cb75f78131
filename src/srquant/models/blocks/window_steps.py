"""Steps of window attention that depend on the picture's size, as modules, so that exports can give them a form.

Features are ``N x H x W x C``; height and width are multiples of the window, for which ``Mirror`` provides.
"""

from functools import lru_cache

import torch
from torch import Tensor, nn


class Mirror(nn.Module):
    """Extend ``N x C x H x W`` by mirrored rows and columns, at least one, to the next multiple."""

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
    """What belongs to the picture itself, without what ``Mirror`` put below and to the right."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, upscaled: Tensor, images: Tensor) -> Tensor:
        """The first ``scale*H`` rows and ``scale*W`` columns, for ``images`` of ``N x C x H x W``."""
        height, width = images.shape[2:]
        return upscaled[..., : height * self.scale, : width * self.scale]


class SplitWindows(nn.Module):
    """``N x H x W x C``, moved up and left by ``shift``, to windows ``N*windows x window**2 x C``."""

    def __init__(self, window: int, shift: int) -> None:
        super().__init__()
        self.window, self.shift = window, shift

    def forward(self, x: Tensor) -> Tensor:
        """Windows in rows, tokens in rows."""
        return split(torch.roll(x, (-self.shift, -self.shift), (1, 2)) if self.shift else x, self.window)


class MergeWindows(nn.Module):
    """Inverse of ``SplitWindows``."""

    def __init__(self, window: int, shift: int) -> None:
        super().__init__()
        self.window, self.shift = window, shift

    def forward(self, windows: Tensor, like: Tensor) -> Tensor:
        """Windows ``N*windows x window**2 x C`` to the ``N x H x W x C`` of ``like``."""
        merged = merge(windows, self.window, like.shape[1], like.shape[2])
        return torch.roll(merged, (self.shift, self.shift), (1, 2)) if self.shift else merged


class ShiftMask(nn.Module):
    """Hides tokens from each other that a cyclic shift brought together."""

    def __init__(self, window: int, shift: int) -> None:
        super().__init__()
        self.window, self.shift = window, shift

    def forward(self, x: Tensor) -> Tensor:
        """For the windows of ``x``, ``N x H x W x C``: ``windows x window**2 x window**2`` of 0 and -100."""
        return shift_mask(x.shape[1], x.shape[2], self.window, self.shift).to(x)


class AddMask(nn.Module):
    """Scores of every head plus the mask of their window."""

    def forward(self, scores: Tensor, mask: Tensor) -> Tensor:
        """``N*windows x heads x T x T`` and ``windows x T x T`` to the shape of the scores."""
        return (scores.view(-1, len(mask), *scores.shape[1:]) + mask[:, None]).view(scores.shape)


class SplitHeads(nn.Module):
    """``B x T x C`` to ``B x heads x T x C/heads``."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        """A head takes neighbouring channels."""
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
    """-100 between tokens that the cyclic shift brought together, else 0: ``windows x window**2 x window**2``."""
    regions = 3 * strips(height, window, shift)[:, None] + strips(width, window, shift)[None, :]
    windows = split(regions[None, :, :, None], window)[..., 0]
    return (windows[:, None, :] != windows[:, :, None]) * -100.0


def strips(length: int, window: int, shift: int) -> Tensor:
    """0 before the last window, 1 in it, 2 where the shift wrapped around; ``length`` integers."""
    position = torch.arange(length)
    return (position >= length - window).long() + (position >= length - shift).long()
