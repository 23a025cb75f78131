"""Steps of attention between channels, whose products run over all pixels: modules, because they depend on the size."""

import torch
from torch import Tensor, nn

SMALLEST = 1e-6
"""The least root mean square that a channel is divided by."""


class SplitChannels(nn.Module):
    """``N x H x W x C`` to ``N x heads x C/heads x H*W``."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        """Each head takes neighbouring channels."""
        batch, height, width, features = x.shape
        return x.reshape(batch, height * width, self.heads, features // self.heads).permute(0, 2, 3, 1)


class MergeChannels(nn.Module):
    """Inverse of ``SplitChannels``."""

    def forward(self, x: Tensor, like: Tensor) -> Tensor:
        """``N x heads x C/heads x H*W`` to ``N x H x W x C``, the shape of ``like``."""
        return x.permute(0, 3, 1, 2).reshape(like.shape)


class UnitRows(nn.Module):
    """Each row divided by its root mean square, so that its values have the same range in pictures of all sizes."""

    def forward(self, x: Tensor) -> Tensor:
        """``... x rows x pixels`` to the same."""
        return x / torch.sqrt(x.square().mean(-1, keepdim=True)).clamp_min(SMALLEST)


class Correlation(nn.Module):
    """Products of two matrices of ``UnitRows``, summed over the pixels, to their means: numbers in [-1, 1]."""

    def forward(self, products: Tensor, rows: Tensor) -> Tensor:
        """``... x rows x rows`` to the same; ``rows`` is one of the matrices, ``... x rows x pixels``."""
        return products / rows.shape[-1]


STEPS = (SplitChannels, MergeChannels, UnitRows, Correlation)
