"""Swin transformer layers on pictures: Liu et al., "Swin Transformer", ICCV 2021, as SwinIR uses them.

Tokens are ``N x H x W x C``; height and width must be multiples of the window.
"""

from functools import lru_cache

import torch
from torch import Tensor, nn

from srquant.models.layers import Add, Matmul
from srquant.models.layout import Weights


class WindowAttention(nn.Module):
    """Multi-head attention inside windows, with a learned bias per relative position.

    Keys: ``qkv``, ``proj``, ``relative_position_bias_table``, ``relative_position_index`` (buffer).
    """

    def __init__(self, features: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.relative_position_index: Tensor
        self.register_buffer("relative_position_index", relative_positions(window))
        self.qkv = nn.Linear(features, 3 * features)
        self.qk = Matmul()
        self.av = Matmul()
        self.proj = nn.Linear(features, features)
        self.softmax = nn.Softmax(dim=-1)

    def forward(self, windows: Tensor, mask: Tensor | None) -> Tensor:
        """Attend.

        Args:
            windows: ``N*windows x tokens x C``.
            mask: ``windows x tokens x tokens``, added to the scores; None for nothing to hide.

        Returns:
            The shape of ``windows``.
        """
        batch, tokens, features = windows.shape
        q, k, v = self.qkv(windows).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = self.qk(q * (features // self.heads) ** -0.5, k.transpose(-2, -1)) + self.bias()
        if mask is not None:
            groups = scores.view(-1, len(mask), self.heads, tokens, tokens) + mask[:, None]
            scores = groups.view(batch, self.heads, tokens, tokens)
        mixed = self.av(self.softmax(scores), v).transpose(1, 2).reshape(batch, tokens, features)
        projected: Tensor = self.proj(mixed)
        return projected

    def bias(self) -> Tensor:
        """``heads x tokens x tokens``."""
        return self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)


class MLP(nn.Module):
    """Two linear layers with a GELU between, per token."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(features, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, features)

    def forward(self, x: Tensor) -> Tensor:
        """``... x C`` to the same."""
        y: Tensor = self.fc2(self.act(self.fc1(x)))
        return y


class SwinLayer(nn.Module):
    """``x + attention(norm1(x))``, then ``x + mlp(norm2(x))``; windows may be shifted cyclically."""

    def __init__(self, features: int, heads: int, window: int, shift: int, hidden: int) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.norm1 = nn.LayerNorm(features)
        self.attn = WindowAttention(features, heads, window)
        self.add1 = Add()
        self.norm2 = nn.LayerNorm(features)
        self.mlp = MLP(features, hidden)
        self.add2 = Add()

    def forward(self, x: Tensor) -> Tensor:
        """``N x H x W x C`` to the same."""
        x = self.add1(x, self.attend(self.norm1(x)))
        total: Tensor = self.add2(x, self.mlp(self.norm2(x)))
        return total

    def attend(self, x: Tensor) -> Tensor:
        """Attention in the shifted windows; the cyclic shift's seams are masked."""
        height, width = x.shape[1:3]
        if not self.shift:
            return merge(self.attn(split(x, self.window), None), self.window, height, width)
        mask = shift_mask(height, width, self.window, self.shift).to(x)
        rolled = torch.roll(x, (-self.shift, -self.shift), (1, 2))
        mixed = merge(self.attn(split(rolled, self.window), mask), self.window, height, width)
        return torch.roll(mixed, (self.shift, self.shift), (1, 2))


class SwinGroup(nn.Module):
    """Layers ``blocks.{i}``, every second one shifted by half a window."""

    def __init__(self, depth: int, features: int, heads: int, window: int, hidden: int) -> None:
        super().__init__()
        shifts = (i % 2 * (window // 2) for i in range(depth))
        self.blocks = nn.Sequential(*(SwinLayer(features, heads, window, shift, hidden) for shift in shifts))

    def forward(self, x: Tensor) -> Tensor:
        """``N x H x W x C`` to the same."""
        y: Tensor = self.blocks(x)
        return y


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


def relative_positions(window: int) -> Tensor:
    """For each pair of tokens the row of the bias table, ``window**2 x window**2`` int64."""
    axis = torch.arange(window)
    rows, columns = axis.repeat_interleave(window), axis.repeat(window)
    down = rows[:, None] - rows[None, :] + window - 1
    right = columns[:, None] - columns[None, :] + window - 1
    return down * (2 * window - 1) + right


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


def mirror(images: Tensor, multiple: int) -> Tensor:
    """Extend ``N x C x H x W`` by mirrored rows and columns, at least one, to the next multiple."""
    for axis in (2, 3):
        size = images.shape[axis]
        position = torch.arange((size // multiple + 1) * multiple, device=images.device) % (2 * size)
        images = images.index_select(axis, torch.where(position < size, position, 2 * size - 1 - position))
    return images


def without_masks(weights: Weights, scale: int | None) -> Weights:
    """The stored masks belong to training crops; the network makes its own."""
    return {name: tensor for name, tensor in weights.items() if not name.endswith(".attn_mask")}
