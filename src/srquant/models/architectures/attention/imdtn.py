"""IMDTN, team 9 of the NTIRE 2022 efficient super-resolution challenge: information distillation with Swin layers.

Works in [0, 1], x4, no mean shift. Keys: ``fea_conv``, ``IMDTB{i}.c{1,2,3,4}``,
``IMDTB{i}.transformer.residual_group.*``, ``c.0``, ``LR_conv``, ``upsampler.0``; ``i`` counts from 1.
"""

import math

import torch
from torch import Tensor, nn

from srquant.models.blocks.layers import Add, conv
from srquant.models.blocks.swin_layers import SwinGroup, without_masks
from srquant.models.blocks.window_steps import Crop, Mirror
from srquant.models.layout import Architecture, Arguments, Layout, Weights, count
from srquant.models.network import Facts

GROUPS = 4


class Transformer(nn.Module):
    """A Swin group with a skip connection."""

    def __init__(self, depth: int, features: int, heads: int, window: int, hidden: int, split_qkv: bool) -> None:
        super().__init__()
        self.residual_group = SwinGroup(depth, features, heads, window, hidden, split_qkv)
        self.add = Add()

    def forward(self, x: Tensor) -> Tensor:
        """``N x F x H x W`` to the same."""
        total: Tensor = self.add(x, self.residual_group(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
        return total


class DistillationBlock(nn.Module):
    """Information distillation, then a Swin transformer, with a skip connection around both.

    Three times: grouped convolution, skip connection, channel shuffle, activation; a quarter of the channels goes to
    the output, the others to the next convolution.
    """

    def __init__(self, features: int, depth: int, heads: int, window: int, hidden: int, split_qkv: bool) -> None:
        super().__init__()
        kept = features // 4
        self.sizes = [kept, features - kept]
        self.c1 = conv(features, features, groups=GROUPS)
        self.c2 = conv(features - kept, features, groups=GROUPS)
        self.c3 = conv(features - kept, features, groups=GROUPS)
        self.c4 = conv(features - kept, kept)
        self.add1, self.add2, self.add3, self.add = Add(), Add(), Add(), Add()
        self.shuffle = nn.ChannelShuffle(GROUPS)
        self.act = nn.LeakyReLU(0.05)
        self.transformer = Transformer(depth, features, heads, window, hidden, split_qkv)

    def forward(self, x: Tensor) -> Tensor:
        """``N x F x H x W`` to the same."""
        first = self.act(self.shuffle(self.add1(x, self.c1(x))))
        kept1, rest = first.split(self.sizes, 1)
        second = self.act(self.shuffle(self.add2(first, self.c2(rest))))
        kept2, rest = second.split(self.sizes, 1)
        third = self.act(self.shuffle(self.add3(second, self.c3(rest))))
        kept3, rest = third.split(self.sizes, 1)
        total: Tensor = self.add(x, self.transformer(torch.cat([kept1, kept2, kept3, self.c4(rest)], 1)))
        return total


class IMDTN(nn.Module):
    """The network; takes and returns RGB in [0, 1]."""

    def __init__(
        self,
        blocks: int = 3,
        features: int = 64,
        scale: int = 4,
        depth: int = 2,
        heads: int = 2,
        window: int = 6,
        hidden: int = 128,
        split_qkv: bool = False,
    ) -> None:
        super().__init__()
        self.mirror = Mirror(window)
        self.names = [f"IMDTB{i + 1}" for i in range(blocks)]
        self.fea_conv = conv(3, features)
        for name in self.names:
            self.add_module(name, DistillationBlock(features, depth, heads, window, hidden, split_qkv))
        self.c = nn.Sequential(conv(blocks * features, features, 1), nn.LeakyReLU(0.05))
        self.LR_conv = conv(features, features)
        self.add = Add()
        self.upsampler = nn.Sequential(conv(features, 3 * scale**2), nn.PixelShuffle(scale))
        self.crop = Crop(scale)

    def forward(self, images: Tensor) -> Tensor:
        """``N x 3 x H x W`` to ``N x 3 x scale*H x scale*W``."""
        shallow = x = self.fea_conv(self.mirror(images))
        outputs = []
        for name in self.names:
            x = self.get_submodule(name)(x)
            outputs.append(x)
        x = self.add(shallow, self.LR_conv(self.c(torch.cat(outputs, 1))))
        upscaled: Tensor = self.crop(self.upsampler(x), images)
        return upscaled


def facts(
    blocks: int = 3,
    features: int = 64,
    scale: int = 4,
    depth: int = 2,
    heads: int = 2,
    window: int = 6,
    hidden: int = 128,
    split_qkv: bool = False,
) -> Facts:
    """Facts of ``IMDTN`` with the same arguments."""
    arguments: Arguments = {"blocks": blocks, "features": features, "scale": scale}
    return Facts(
        architecture="imdtn",
        arguments=arguments
        | {"depth": depth, "heads": heads, "window": window, "hidden": hidden, "split_qkv": split_qkv},
        scale=scale,
        value_range=1.0,
        head=("fea_conv",),
        tail=("upsampler.0",),
        features=tuple(f"IMDTB{i + 1}" for i in range(blocks)),
        tiles_exactly=False,
    )


def infer(weights: Weights) -> Arguments:
    """Arguments from shapes."""
    layers = "IMDTB1.transformer.residual_group.blocks"
    return {
        "blocks": count(weights, r"IMDTB\d+\.c1\.weight"),
        "features": weights["fea_conv.weight"].shape[0],
        "scale": math.isqrt(weights["upsampler.0.weight"].shape[0] // 3),
        "depth": count(weights, rf"{layers}\.\d+\.norm1\.weight"),
        "heads": weights[f"{layers}.0.attn.relative_position_bias_table"].shape[1],
        "window": math.isqrt(weights[f"{layers}.0.attn.relative_position_index"].shape[0]),
        "hidden": weights[f"{layers}.0.mlp.fc1.weight"].shape[0],
    }


ARCHITECTURE = Architecture(
    name="imdtn",
    module=IMDTN,
    facts=facts,
    infer=infer,
    layouts=(Layout(keys=("fea_conv.weight", "IMDTB1.c1.weight", "upsampler.0.weight"), convert=without_masks),),
)
