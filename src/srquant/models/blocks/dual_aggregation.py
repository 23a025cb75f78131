"""Blocks of the Dual Aggregation Transformer: attention inside windows and attention between channels take turns.

Tokens are ``N x H x W x C`` of any height and width.
"""

import math

import torch
from torch import Tensor, nn

from srquant.models.blocks.channel_steps import Correlation, MergeChannels, SplitChannels, UnitRows
from srquant.models.blocks.layers import Add, Matmul, conv
from srquant.models.blocks.position_bias import PositionBias
from srquant.models.blocks.projections import Projections
from srquant.models.blocks.rectangles import Cut, MergeRectangles, RectangleMask, SplitRectangles
from srquant.models.blocks.window_steps import AddMask, MergeHeads, SplitHeads


class RectangleAttention(nn.Module):
    """Multi-head attention inside rectangular windows; key ``position_bias.table``.

    Args:
        features: channels, a multiple of ``heads``.
        heads: attention heads.
        cut: how the picture is cut into windows.
    """

    def __init__(self, features: int, heads: int, cut: Cut) -> None:
        super().__init__()
        self.shifted = any(cut.shift)
        self.factor = (features // heads) ** -0.5
        self.position_bias = PositionBias(heads, cut.window)
        self.windows = SplitRectangles(cut)
        self.split = SplitHeads(heads)
        self.qk = Matmul()
        self.shift_mask = RectangleMask(cut)
        self.mask = AddMask()
        self.softmax = nn.Softmax(dim=-1)
        self.av = Matmul()
        self.merge = MergeHeads()
        self.picture = MergeRectangles(cut)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Queries, keys and values, each ``N x H x W x C``, to the same."""
        queries, keys, values = self.heads(q * self.factor), self.heads(k), self.heads(v)
        scores = self.qk(queries, keys.transpose(-2, -1)) + self.position_bias()
        if self.shifted:
            scores = self.mask(scores, self.shift_mask(q))
        attended: Tensor = self.picture(self.merge(self.av(self.softmax(scores), values)), q)
        return attended

    def heads(self, x: Tensor) -> Tensor:
        """``N x H x W x C`` to ``N*windows x heads x tokens x C/heads``."""
        split: Tensor = self.split(self.windows(x))
        return split


class AdaptiveAttention(Projections):
    """Base of both kinds of attention: a convolution of the values beside it, and gates that mix the two.

    Keys: ``qkv`` (or ``q``, ``k``, ``v``), ``proj``, ``dwconv.0``, ``channel_interaction.{1,3}``,
    ``spatial_interaction.{0,2}``.
    """

    def __init__(self, features: int, split_qkv: bool) -> None:
        super().__init__(features, split_qkv)
        self.proj = nn.Linear(features, features)
        self.dwconv = nn.Sequential(conv(features, features, groups=features), nn.GELU())
        squeezed, narrow = features // 8, features // 16
        self.channel_interaction = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), conv(features, squeezed, 1), nn.GELU(), conv(squeezed, features, 1)
        )
        self.spatial_interaction = nn.Sequential(conv(features, narrow, 1), nn.GELU(), conv(narrow, 1, 1))
        self.sigmoid = nn.Sigmoid()
        self.add = Add()

    def mixed(self, by_channel: Tensor, by_pixel: Tensor) -> Tensor:
        """The sum of two maps, each gated by the other, projected.

        Args:
            by_channel: ``N x C x H x W``; the other map has one gate for each of its channels.
            by_pixel: the same shape; the other map has one gate for each of its pixels.

        Returns:
            ``N x H x W x C``.
        """
        channels = self.sigmoid(self.channel_interaction(by_pixel))
        pixels = self.sigmoid(self.spatial_interaction(by_channel))
        total = self.add(by_channel * channels, by_pixel * pixels)
        projected: Tensor = self.proj(total.permute(0, 2, 3, 1))
        return projected


class SpatialAttention(AdaptiveAttention):
    """Half of the channels attend in windows, the other half in windows with height and width exchanged.

    Keys: those of ``AdaptiveAttention``, and ``attns.{0,1}``.

    Args:
        features: channels.
        heads: attention heads, even.
        window: height and width.
        shifted: whether the picture is moved by half a window.
        split_qkv: three linear layers for queries, keys and values instead of one.
    """

    def __init__(self, features: int, heads: int, window: tuple[int, int], shifted: bool, split_qkv: bool) -> None:
        super().__init__(features, split_qkv)
        multiple = math.lcm(*window)
        cuts = (Cut((h, w), (h // 2, w // 2) if shifted else (0, 0), multiple) for h, w in (window, window[::-1]))
        self.attns = nn.ModuleList(RectangleAttention(features // 2, heads // 2, cut) for cut in cuts)

    def forward(self, x: Tensor) -> Tensor:
        """``N x H x W x C`` to the same."""
        q, k, v = self.projections(x)
        (q1, q2), (k1, k2), (v1, v2) = q.chunk(2, -1), k.chunk(2, -1), v.chunk(2, -1)
        attended = torch.cat([self.attns[0](q1, k1, v1), self.attns[1](q2, k2, v2)], -1).permute(0, 3, 1, 2)
        return self.mixed(by_channel=attended, by_pixel=self.dwconv(v.permute(0, 3, 1, 2)))


class ChannelAttention(AdaptiveAttention):
    """Multi-head attention between channels: their similarity is that of their pictures.

    Published code gives queries and keys length 1 before their product. Here they get root mean square 1, and the
    product is divided by the number of pixels: the same scores, from operands whose range doesn't depend on the
    picture's size.

    Keys: those of ``AdaptiveAttention``, and ``temperature``.
    """

    def __init__(self, features: int, heads: int, split_qkv: bool) -> None:
        super().__init__(features, split_qkv)
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.split = SplitChannels(heads)
        self.unit = UnitRows()
        self.qk = Matmul()
        self.correlation = Correlation()
        self.softmax = nn.Softmax(dim=-1)
        self.av = Matmul()
        self.merge = MergeChannels()

    def forward(self, x: Tensor) -> Tensor:
        """``N x H x W x C`` to the same."""
        q, k, v = self.projections(x)
        queries, keys = self.unit(self.split(q)), self.unit(self.split(k))
        scores = self.correlation(self.qk(queries, keys.transpose(-2, -1)), queries) * self.temperature
        attended = self.merge(self.av(self.softmax(scores), self.split(v)), x).permute(0, 3, 1, 2)
        return self.mixed(by_channel=self.dwconv(v.permute(0, 3, 1, 2)), by_pixel=attended)


class SpatialGate(nn.Module):
    """Half of the channels times a convolution of the other half; keys ``norm``, ``conv``.

    Args:
        features: channels of a half.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(features)
        self.conv = conv(features, features, groups=features)

    def forward(self, x: Tensor) -> Tensor:
        """``N x H x W x 2*C`` to ``N x H x W x C``."""
        values, gates = x.chunk(2, -1)
        gated: Tensor = values * self.conv(self.norm(gates).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return gated


class GatedMLP(nn.Module):
    """Two linear layers, with a GELU and a ``SpatialGate`` between them."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(features, hidden)
        self.act = nn.GELU()
        self.sg = SpatialGate(hidden // 2)
        self.fc2 = nn.Linear(hidden // 2, features)

    def forward(self, x: Tensor) -> Tensor:
        """``N x H x W x C`` to the same."""
        y: Tensor = self.fc2(self.sg(self.act(self.fc1(x))))
        return y


class AggregationBlock(nn.Module):
    """``x + attn(norm1(x))``, then ``x + ffn(norm2(x))``."""

    def __init__(self, features: int, attention: AdaptiveAttention, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(features)
        self.attn = attention
        self.add1 = Add()
        self.norm2 = nn.LayerNorm(features)
        self.ffn = GatedMLP(features, hidden)
        self.add2 = Add()

    def forward(self, x: Tensor) -> Tensor:
        """``N x H x W x C`` to the same."""
        x = self.add1(x, self.attn(self.norm1(x)))
        total: Tensor = self.add2(x, self.ffn(self.norm2(x)))
        return total
