"""RLFN: Kong et al., "Residual Local Feature Network for Efficient Super-Resolution", CVPRW 2022. Works in [0, 255].

Keys: ``conv_1``, ``block_{i}.{c1_r,c2_r,c3_r,c5}``, ``block_{i}.esa.*``, ``conv_2``, ``upsampler.0``;
``i`` counts from 1.
"""

import math

from torch import Tensor, nn

from srquant.models.blocks.layers import Add, conv
from srquant.models.blocks.spatial_attention import SpatialAttention
from srquant.models.layout import Architecture, Arguments, Layout, Weights, count
from srquant.models.network import Facts


class LocalFeatureBlock(nn.Module):
    """Three convolutions with leaky ReLU, a skip connection, a 1x1 convolution, attention."""

    def __init__(self, features: int, attention: int) -> None:
        super().__init__()
        self.c1_r = conv(features, features)
        self.c2_r = conv(features, features)
        self.c3_r = conv(features, features)
        self.act = nn.LeakyReLU(0.05)
        self.add = Add()
        self.c5 = conv(features, features, 1)
        self.esa = SpatialAttention(features, attention, deep=False)

    def forward(self, x: Tensor) -> Tensor:
        """``N x F x H x W`` to the same."""
        y = self.act(self.c2_r(self.act(self.c1_r(x))))
        y = self.add(x, self.act(self.c3_r(y)))
        attended: Tensor = self.esa(self.c5(y))
        return attended


class RLFN(nn.Module):
    """The network; takes and returns RGB in [0, 255]."""

    def __init__(self, blocks: int = 6, features: int = 52, scale: int = 4, attention: int = 16) -> None:
        super().__init__()
        self.names = [f"block_{i + 1}" for i in range(blocks)]
        self.conv_1 = conv(3, features)
        for name in self.names:
            self.add_module(name, LocalFeatureBlock(features, attention))
        self.conv_2 = conv(features, features)
        self.add = Add()
        self.upsampler = nn.Sequential(conv(features, 3 * scale**2), nn.PixelShuffle(scale))

    def forward(self, images: Tensor) -> Tensor:
        """``N x 3 x H x W`` to ``N x 3 x scale*H x scale*W``."""
        shallow = x = self.conv_1(images)
        for name in self.names:
            x = self.get_submodule(name)(x)
        upscaled: Tensor = self.upsampler(self.add(shallow, self.conv_2(x)))
        return upscaled


SMALLEST = 15
"""Side of the smallest picture that leaves one pixel after the attention's stride 2 and pooling of 7 x 7."""


def facts(blocks: int = 6, features: int = 52, scale: int = 4, attention: int = 16) -> Facts:
    """Facts of ``RLFN`` with the same arguments."""
    return Facts(
        architecture="rlfn",
        arguments={"blocks": blocks, "features": features, "scale": scale, "attention": attention},
        scale=scale,
        value_range=255.0,
        head=("conv_1",),
        tail=("upsampler.0",),
        features=tuple(f"block_{i + 1}" for i in range(blocks)),
        tiles_exactly=False,
        smallest=SMALLEST,
    )


def infer(weights: Weights) -> Arguments:
    """Arguments from shapes."""
    return {
        "blocks": count(weights, r"block_\d+\.c1_r\.weight"),
        "features": weights["conv_1.weight"].shape[0],
        "scale": math.isqrt(weights["upsampler.0.weight"].shape[0] // 3),
        "attention": weights["block_1.esa.conv1.weight"].shape[0],
    }


ARCHITECTURE = Architecture(
    name="rlfn",
    module=RLFN,
    facts=facts,
    infer=infer,
    layouts=(Layout(keys=("conv_1.weight", "block_1.c1_r.weight", "block_1.esa.conv1.weight", "upsampler.0.weight")),),
)
