"""RFDN: Liu et al., "Residual Feature Distillation Network for Lightweight Image Super-Resolution", ECCVW 2020.

Works in [0, 255]. Keys: ``fea_conv``, ``B{i}.{c1_d,c1_r,c2_d,c2_r,c3_d,c3_r,c4,c5}``, ``B{i}.esa.*``, ``c.0``,
``LR_conv``, ``upsampler.0``; ``i`` counts from 1.
"""

import math

import torch
from torch import Tensor, nn

from srquant.models.blocks.layers import Add, conv
from srquant.models.blocks.spatial_attention import SpatialAttention
from srquant.models.layout import Architecture, Arguments, Layout, Weights, count
from srquant.models.network import Facts


class DistillationBlock(nn.Module):
    """Three times a 1x1 convolution (distilled features) and a residual 3x3 convolution; then fusion and attention."""

    def __init__(self, features: int, attention: int) -> None:
        super().__init__()
        half = features // 2
        self.c1_d, self.c2_d, self.c3_d = (conv(features, half, 1) for _ in range(3))
        self.c1_r, self.c2_r, self.c3_r = (conv(features, features) for _ in range(3))
        self.add1, self.add2, self.add3 = Add(), Add(), Add()
        self.c4 = conv(features, half)
        self.act = nn.LeakyReLU(0.05)
        self.c5 = conv(4 * half, features, 1)
        self.esa = SpatialAttention(features, attention, deep=True)

    def forward(self, x: Tensor) -> Tensor:
        """``N x F x H x W`` to the same."""
        first = self.act(self.add1(x, self.c1_r(x)))
        second = self.act(self.add2(first, self.c2_r(first)))
        third = self.act(self.add3(second, self.c3_r(second)))
        distilled = [self.c1_d(x), self.c2_d(first), self.c3_d(second), self.c4(third)]
        attended: Tensor = self.esa(self.c5(self.act(torch.cat(distilled, 1))))
        return attended


class RFDN(nn.Module):
    """The network; takes and returns RGB in [0, 255]."""

    def __init__(self, blocks: int = 4, features: int = 50, scale: int = 4, attention: int = 12) -> None:
        super().__init__()
        self.names = [f"B{i + 1}" for i in range(blocks)]
        self.fea_conv = conv(3, features)
        for name in self.names:
            self.add_module(name, DistillationBlock(features, attention))
        self.c = nn.Sequential(conv(blocks * features, features, 1), nn.LeakyReLU(0.05))
        self.LR_conv = conv(features, features)
        self.add = Add()
        self.upsampler = nn.Sequential(conv(features, 3 * scale**2), nn.PixelShuffle(scale))

    def forward(self, images: Tensor) -> Tensor:
        """``N x 3 x H x W`` to ``N x 3 x scale*H x scale*W``."""
        shallow = x = self.fea_conv(images)
        outputs = []
        for name in self.names:
            x = self.get_submodule(name)(x)
            outputs.append(x)
        x = self.add(shallow, self.LR_conv(self.c(torch.cat(outputs, 1))))
        upscaled: Tensor = self.upsampler(x)
        return upscaled


SMALLEST = 15
"""Side of the smallest picture that leaves one pixel after the attention's stride 2 and pooling of 7 x 7."""


def facts(blocks: int = 4, features: int = 50, scale: int = 4, attention: int = 12) -> Facts:
    """Facts of ``RFDN`` with the same arguments."""
    return Facts(
        architecture="rfdn",
        arguments={"blocks": blocks, "features": features, "scale": scale, "attention": attention},
        scale=scale,
        value_range=255.0,
        head=("fea_conv",),
        tail=("upsampler.0",),
        features=tuple(f"B{i + 1}" for i in range(blocks)),
        tiles_exactly=False,
        smallest=SMALLEST,
    )


def infer(weights: Weights) -> Arguments:
    """Arguments from shapes."""
    return {
        "blocks": count(weights, r"B\d+\.c1_d\.weight"),
        "features": weights["fea_conv.weight"].shape[0],
        "scale": math.isqrt(weights["upsampler.0.weight"].shape[0] // 3),
        "attention": weights["B1.esa.conv1.weight"].shape[0],
    }


ARCHITECTURE = Architecture(
    name="rfdn",
    module=RFDN,
    facts=facts,
    infer=infer,
    layouts=(Layout(keys=("fea_conv.weight", "B1.c1_d.weight", "B1.esa.conv_max.weight", "upsampler.0.weight")),),
)
