"""Swin transformer layers on pictures: Liu et al., "Swin Transformer", ICCV 2021, as SwinIR uses them.

Tokens are ``N x H x W x C``; height and width must be multiples of the window.
"""

import torch
from torch import Tensor, nn

from srquant.models.blocks.layers import Add, Matmul
from srquant.models.blocks.projections import Projections
from srquant.models.blocks.window_steps import AddMask, MergeHeads, MergeWindows, ShiftMask, SplitHeads, SplitWindows
from srquant.models.layout import Weights


class WindowAttention(Projections):
    """Multi-head attention inside windows, with a learned bias per relative position.

    Keys: ``qkv`` (or ``q``, ``k``, ``v``), ``proj``, ``relative_position_bias_table``, ``relative_position_index``
    (buffer).

    Args:
        features: channels, a multiple of ``heads``.
        heads: attention heads.
        window: height and width of the windows.
        split_qkv: three linear layers ``q``, ``k``, ``v`` instead of one ``qkv``, as in 2DQuant.
    """

    def __init__(self, features: int, heads: int, window: int, split_qkv: bool = False) -> None:
        super().__init__(features, split_qkv)
        self.factor = (features // heads) ** -0.5
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.relative_position_index: Tensor
        self.register_buffer("relative_position_index", relative_positions(window))
        self.split = SplitHeads(heads)
        self.qk = Matmul()
        self.mask = AddMask()
        self.softmax = nn.Softmax(dim=-1)
        self.av = Matmul()
        self.merge = MergeHeads()
        self.proj = nn.Linear(features, features)

    def forward(self, windows: Tensor, mask: Tensor | None) -> Tensor:
        """Attend.

        Args:
            windows: ``N*windows x tokens x C``.
            mask: ``windows x tokens x tokens``, added to the scores; None for no mask.

        Returns:
            The shape of ``windows``.
        """
        q, k, v = self.projections(windows)
        q, k, v = self.split(q * self.factor), self.split(k), self.split(v)
        scores = self.qk(q, k.transpose(-2, -1)) + self.bias()
        if mask is not None:
            scores = self.mask(scores, mask)
        attended: Tensor = self.proj(self.merge(self.av(self.softmax(scores), v)))
        return attended

    def bias(self) -> Tensor:
        """``heads x tokens x tokens``."""
        return self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)


class MLP(nn.Module):
    """Two linear layers with a GELU between them, applied to each token."""

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

    def __init__(self, features: int, heads: int, window: int, shift: int, hidden: int, split_qkv: bool) -> None:
        super().__init__()
        self.shift = shift
        self.norm1 = nn.LayerNorm(features)
        self.split = SplitWindows(window, shift)
        self.attn = WindowAttention(features, heads, window, split_qkv)
        self.merge = MergeWindows(window, shift)
        self.add1 = Add()
        self.norm2 = nn.LayerNorm(features)
        self.mlp = MLP(features, hidden)
        self.add2 = Add()

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """``N x H x W x C`` to the same; ``mask`` is used by shifted windows."""
        windows = self.attn(self.split(self.norm1(x)), mask if self.shift else None)
        x = self.add1(x, self.merge(windows, x))
        total: Tensor = self.add2(x, self.mlp(self.norm2(x)))
        return total


class SwinGroup(nn.Module):
    """Layers ``blocks.{i}``, every second one shifted by half a window."""

    def __init__(
        self, depth: int, features: int, heads: int, window: int, hidden: int, split_qkv: bool = False
    ) -> None:
        super().__init__()
        shifts = (i % 2 * (window // 2) for i in range(depth))
        layers = (SwinLayer(features, heads, window, shift, hidden, split_qkv) for shift in shifts)
        self.blocks = nn.ModuleList(layers)
        self.mask = ShiftMask(window, window // 2)

    def forward(self, x: Tensor) -> Tensor:
        """``N x H x W x C`` to the same."""
        mask = self.mask(x)
        for block in self.blocks:
            x = block(x, mask)
        return x


def relative_positions(window: int) -> Tensor:
    """Row of the bias table for each pair of tokens, ``window**2 x window**2`` int64."""
    axis = torch.arange(window)
    rows, columns = axis.repeat_interleave(window), axis.repeat(window)
    down = rows[:, None] - rows[None, :] + window - 1
    right = columns[:, None] - columns[None, :] + window - 1
    return down * (2 * window - 1) + right


def without_masks(weights: Weights, scale: int | None) -> Weights:
    """Drop the stored attention masks: they fit the training crops only, and the network computes its masks."""
    return {name: tensor for name, tensor in weights.items() if not name.endswith(".attn_mask")}
