"""Cut pictures into rectangular windows and put them back together; which tokens of a window were neighbours before.

Features are ``N x H x W x C``; sizes of windows are (height, width). The steps take pictures of any size: they add
zeros below and on the right, and take them off again.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Size = tuple[int, int]

FORBIDDEN = -100.0
"""Score of tokens that must not attend to each other; softmax makes it 0."""


@dataclass(frozen=True)
class Cut:
    """How a picture is cut into windows.

    Attributes:
        window: height and width of the windows in pixels.
        shift: rows and columns by which the picture is moved up and left cyclically before it is cut; 0 or more, less
            than the window.
        multiple: rows and columns of the picture are extended to multiples of this, a common multiple of the window's.
    """

    window: Size
    shift: Size
    multiple: int

    def windows(self, height: int, width: int) -> Size:
        """Number of windows below each other and beside each other in a picture."""
        down, right = ((size + self.multiple - 1) // self.multiple for size in (height, width))
        return down * (self.multiple // self.window[0]), right * (self.multiple // self.window[1])

    def extended(self, height: int, width: int) -> Size:
        """Height and width of the extended picture."""
        down, right = self.windows(height, width)
        return down * self.window[0], right * self.window[1]


class SplitRectangles(nn.Module):
    """A picture, extended by zeros and moved, to its windows."""

    def __init__(self, cut: Cut) -> None:
        super().__init__()
        self.cut = cut

    def forward(self, x: Tensor) -> Tensor:
        """``N x H x W x C`` to ``N*windows x tokens x C``; windows and their tokens are in row-major order."""
        height, width = x.shape[1:3]
        rows, columns = self.cut.extended(height, width)
        down, right = self.cut.shift
        extended = F.pad(x, (0, 0, 0, columns - width, 0, rows - height))
        return split(torch.roll(extended, (-down, -right), (1, 2)) if down or right else extended, self.cut.window)


class MergeRectangles(nn.Module):
    """Inverse of ``SplitRectangles``.

    Rows and columns are picked by their numbers, as ``torch.export`` follows no slice whose length it doesn't know.
    """

    def __init__(self, cut: Cut) -> None:
        super().__init__()
        self.cut = cut

    def forward(self, windows: Tensor, like: Tensor) -> Tensor:
        """Windows ``N*windows x tokens x C`` to ``N x H x W x C``, the shape of ``like``."""
        height, width = like.shape[1:3]
        x = merge(windows, self.cut.window, self.cut.windows(height, width))
        for axis, size, shift in ((1, height, self.cut.shift[0]), (2, width, self.cut.shift[1])):
            x = x.index_select(axis, (torch.arange(size, device=x.device) - shift) % x.shape[axis])
        return x


class RectangleMask(nn.Module):
    """The mask that prevents attention between tokens that are neighbours only because the picture was moved."""

    def __init__(self, cut: Cut) -> None:
        super().__init__()
        self.cut = cut

    def forward(self, x: Tensor) -> Tensor:
        """For the windows of ``x``, ``N x H x W x C``: ``windows x tokens x tokens`` of 0 and -100."""
        mask = shift_mask(self.cut.extended(*x.shape[1:3]), self.cut.window, self.cut.shift, x.device)
        return mask.to(x.dtype)


STEPS = (SplitRectangles, MergeRectangles, RectangleMask)


def split(x: Tensor, window: Size) -> Tensor:
    """``N x H x W x C`` to windows ``N*windows x tokens x C``; H and W are multiples of the window's."""
    (batch, rows, columns, features), (height, width) = x.shape, window
    tiles = x.view(batch, rows // height, height, columns // width, width, features)
    return tiles.transpose(2, 3).reshape(-1, height * width, features)


def merge(windows: Tensor, window: Size, number: Size) -> Tensor:
    """Inverse of ``split``; ``number`` of windows below each other and beside each other."""
    (height, width), (down, right) = window, number
    tiles = windows.view(-1, down, right, height, width, windows.shape[-1])
    return tiles.transpose(2, 3).reshape(-1, down * height, right * width, windows.shape[-1])


def shift_mask(picture: Size, window: Size, shift: Size, device: torch.device | None = None) -> Tensor:
    """-100 between tokens that are neighbours only because of the cyclic shift, else 0.

    Args:
        picture: height and width, multiples of the window's.
        window: height and width.
        shift: up and left.
        device: on which the mask is made.

    Returns:
        ``windows x tokens x tokens``, float32.
    """
    rows, columns = (strips(*axis, device) for axis in zip(picture, window, shift, strict=True))
    regions = 3 * rows[:, None] + columns[None, :]
    windows = split(regions[None, :, :, None], window)[..., 0]
    return (windows[:, None, :] != windows[:, :, None]) * FORBIDDEN


def strips(length: int, window: int, shift: int, device: torch.device | None = None) -> Tensor:
    """0 before the last window, 1 in it, 2 for positions that the cyclic shift moved there; ``length`` integers."""
    position = torch.arange(length, device=device)
    return (position >= length - window).long() + (position >= length - shift).long()
