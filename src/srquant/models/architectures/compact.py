"""SRVGGNetCompact: the plain network of Real-ESRGAN (Wang et al., ICCVW 2021). Works in [0, 1].

A chain of convolutions and PReLUs, ``body.{i}``, a pixel shuffle, and a skip connection of the enlarged input
(nearest neighbour).
"""

import math

from torch import Tensor, nn

from srquant.models.blocks.layers import Add, conv
from srquant.models.layout import Architecture, Arguments, Layout, Weights, count
from srquant.models.network import Facts


class SRVGGNetCompact(nn.Module):
    """The network; takes and returns RGB in [0, 1].

    Args:
        convolutions: number of convolutions, including the first and the last.
        features: channels.
        scale: upscaling factor.
    """

    def __init__(self, convolutions: int = 18, features: int = 64, scale: int = 4) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv(3, features), nn.PReLU(features)]
        for _ in range(convolutions - 2):
            layers += [conv(features, features), nn.PReLU(features)]
        self.body = nn.Sequential(*layers, conv(features, 3 * scale**2))
        self.upsampler = nn.PixelShuffle(scale)
        self.nearest = nn.Upsample(scale_factor=float(scale), mode="nearest")
        self.add = Add()

    def forward(self, images: Tensor) -> Tensor:
        """``N x 3 x H x W`` to ``N x 3 x scale*H x scale*W``."""
        upscaled: Tensor = self.add(self.nearest(images), self.upsampler(self.body(images)))
        return upscaled


def facts(convolutions: int = 18, features: int = 64, scale: int = 4) -> Facts:
    """Facts of ``SRVGGNetCompact`` with the same arguments."""
    return Facts(
        architecture="compact",
        arguments={"convolutions": convolutions, "features": features, "scale": scale},
        scale=scale,
        value_range=1.0,
        head=("body.0",),
        tail=(f"body.{2 * convolutions - 2}",),
        features=tuple(f"body.{2 * i + 1}" for i in range(convolutions - 1)),
    )


def infer(weights: Weights) -> Arguments:
    """Arguments from shapes."""
    convolutions = count(weights, r"body\.\d+\.bias")
    return {
        "convolutions": convolutions,
        "features": weights["body.0.weight"].shape[0],
        "scale": math.isqrt(weights[f"body.{2 * convolutions - 2}.weight"].shape[0] // 3),
    }


ARCHITECTURE = Architecture(
    name="compact",
    module=SRVGGNetCompact,
    facts=facts,
    infer=infer,
    layouts=(Layout(keys=("body.0.weight", "body.0.bias", "body.1.weight", "body.2.bias"), without=("body.1.bias",)),),
)
