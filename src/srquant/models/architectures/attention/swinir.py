"""SwinIR: Liang et al., "SwinIR: Image Restoration Using Swin Transformer", ICCVW 2021. Works in [0, 1].

Keys as published: ``conv_first``, ``patch_embed.norm``, ``layers.{i}.residual_group.blocks.{j}.*``,
``layers.{i}.conv``, ``norm``, ``conv_after_body``, ``upsample.0`` (light), or
``conv_before_upsample.0``, ``upsample.{0,2}``, ``conv_last``.
"""

import math

from torch import Tensor, nn

from srquant.models.blocks.layers import Add, conv, mean_shift, mean_shift_weights, upsampler, upsampler_convs
from srquant.models.blocks.swin_layers import SwinGroup, without_masks
from srquant.models.blocks.window_steps import Crop, Mirror
from srquant.models.layout import Architecture, Arguments, Layout, Weights, count, upscaling
from srquant.models.network import Facts

WIDTH = 64
"""Channels of the upsampler of the classical (not light) networks."""


class ResidualSwinBlock(nn.Module):
    """``x + conv(residual_group(x))``."""

    def __init__(self, depth: int, features: int, heads: int, window: int, hidden: int, split_qkv: bool) -> None:
        super().__init__()
        self.residual_group = SwinGroup(depth, features, heads, window, hidden, split_qkv)
        self.conv = conv(features, features)
        self.add = Add()

    def forward(self, x: Tensor) -> Tensor:
        """``N x H x W x C`` to the same."""
        y = self.conv(self.residual_group(x).permute(0, 3, 1, 2))
        total: Tensor = self.add(x, y.permute(0, 2, 3, 1))
        return total


class PatchEmbedding(nn.Module):
    """Pixels to normalized tokens; key ``norm``."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(features)

    def forward(self, x: Tensor) -> Tensor:
        """``N x C x H x W`` to ``N x H x W x C``."""
        tokens: Tensor = self.norm(x.permute(0, 2, 3, 1))
        return tokens


class SwinIR(nn.Module):
    """The network; takes and returns RGB in [0, 1].

    Args:
        depths: Swin layers of each block.
        heads: attention heads of each layer.
        features: channels, a multiple of ``heads``.
        scale: upscaling factor.
        window: height and width of the attention windows.
        hidden: channels inside the MLPs.
        light: whether the upsampler is a single convolution, as in SwinIR-light.
        split_qkv: three linear layers for queries, keys and values instead of one.
    """

    def __init__(
        self,
        depths: list[int] | tuple[int, ...] = (6, 6, 6, 6),
        heads: int = 6,
        features: int = 60,
        scale: int = 4,
        window: int = 8,
        hidden: int = 120,
        light: bool = True,
        split_qkv: bool = False,
    ) -> None:
        super().__init__()
        self.light = light
        self.mirror = Mirror(window)
        self.sub_mean = mean_shift(1.0, -1)
        self.conv_first = conv(3, features)
        self.patch_embed = PatchEmbedding(features)
        self.layers = nn.Sequential(*(ResidualSwinBlock(d, features, heads, window, hidden, split_qkv) for d in depths))
        self.norm = nn.LayerNorm(features)
        self.conv_after_body = conv(features, features)
        self.add = Add()
        if light:
            self.upsample = nn.Sequential(conv(features, 3 * scale**2), nn.PixelShuffle(scale))
        else:
            self.conv_before_upsample = nn.Sequential(conv(features, WIDTH), nn.LeakyReLU())
            self.upsample = upsampler(scale, WIDTH)
            self.conv_last = conv(WIDTH, 3)
        self.add_mean = mean_shift(1.0, +1)
        self.crop = Crop(scale)

    def forward(self, images: Tensor) -> Tensor:
        """``N x 3 x H x W`` to ``N x 3 x scale*H x scale*W``."""
        x = self.conv_first(self.sub_mean(self.mirror(images)))
        x = self.add(x, self.conv_after_body(self.norm(self.layers(self.patch_embed(x))).permute(0, 3, 1, 2)))
        x = self.upsample(x) if self.light else self.conv_last(self.upsample(self.conv_before_upsample(x)))
        upscaled: Tensor = self.crop(self.add_mean(x), images)
        return upscaled


def facts(
    depths: list[int] | tuple[int, ...] = (6, 6, 6, 6),
    heads: int = 6,
    features: int = 60,
    scale: int = 4,
    window: int = 8,
    hidden: int = 120,
    light: bool = True,
    split_qkv: bool = False,
) -> Facts:
    """Facts of ``SwinIR`` with the same arguments."""
    arguments: Arguments = {"depths": list(depths), "heads": heads, "features": features, "scale": scale}
    classical = ("conv_before_upsample.0", *upsampler_convs("upsample", scale), "conv_last")
    return Facts(
        architecture="swinir",
        arguments=arguments | {"window": window, "hidden": hidden, "light": light, "split_qkv": split_qkv},
        scale=scale,
        value_range=1.0,
        head=("conv_first",),
        tail=("upsample.0",) if light else classical,
        features=tuple(f"layers.{i}.residual_group" for i in range(len(depths))),
        tiles_exactly=False,
        blocks=tuple(f"layers.{i}" for i in range(len(depths))),
    )


def infer(weights: Weights) -> Arguments:
    """Arguments from shapes."""
    blocks = count(weights, r"layers\.\d+\.conv\.weight")
    first = "layers.0.residual_group.blocks.0"
    light = "conv_last.weight" not in weights
    return {
        "depths": [count(weights, rf"layers\.{i}\.residual_group\.blocks\.\d+\.norm1\.weight") for i in range(blocks)],
        "heads": weights[f"{first}.attn.relative_position_bias_table"].shape[1],
        "features": weights["conv_first.weight"].shape[0],
        "scale": upscaling(weights, 3 if light else WIDTH, "upsample.0", "upsample.2", "upsample.4"),
        "window": math.isqrt(weights[f"{first}.attn.relative_position_index"].shape[0]),
        "hidden": weights[f"{first}.mlp.fc1.weight"].shape[0],
        "light": light,
    }


def from_official(weights: Weights, scale: int | None) -> Weights:
    """Drop the stored attention masks; add the mean shifts, which aren't stored."""
    return without_masks(weights, scale) | mean_shift_weights(1.0)


ARCHITECTURE = Architecture(
    name="swinir",
    module=SwinIR,
    facts=facts,
    infer=infer,
    layouts=(
        Layout(
            keys=("conv_first.weight", "layers.0.residual_group.blocks.0.attn.qkv.weight", "upsample.0.weight"),
            convert=from_official,
        ),
    ),
)
