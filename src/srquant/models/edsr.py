"""EDSR: Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution", CVPRW 2017.

Baseline: 16 blocks of 64 features; large: 32 blocks of 256 features and ``res_scale`` 0.1. Works in [0, 255].
Keys as in EDSR-PyTorch: ``head.0``, ``body.{i}.body.{0,2}``, ``body.{blocks}``, ``tail.0.{0,2}``, ``tail.1``.
"""

from torch import Tensor, nn

from srquant.models.layers import Add, conv, mean_shift, upsampler
from srquant.models.network import Facts


class ResidualBlock(nn.Module):
    """``x + res_scale * conv(relu(conv(x)))``."""

    def __init__(self, features: int, res_scale: float) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(features, features), nn.ReLU(), conv(features, features))
        self.add = Add(res_scale)

    def forward(self, x: Tensor) -> Tensor:
        """``N x F x H x W`` to the same."""
        return self.add(x, self.body(x))


class EDSR(nn.Module):
    """The network; takes and returns RGB in [0, 255]."""

    def __init__(self, blocks: int = 16, features: int = 64, scale: int = 2, res_scale: float = 1.0) -> None:
        super().__init__()
        self.sub_mean = mean_shift(255.0, -1)
        self.head = nn.Sequential(conv(3, features))
        residual = [ResidualBlock(features, res_scale) for _ in range(blocks)]
        self.body = nn.Sequential(*residual, conv(features, features))
        self.add = Add()
        self.tail = nn.Sequential(upsampler(scale, features), conv(features, 3))
        self.add_mean = mean_shift(255.0, +1)

    def forward(self, images: Tensor) -> Tensor:
        """``N x 3 x H x W`` to ``N x 3 x scale*H x scale*W``."""
        x = self.head(self.sub_mean(images))
        return self.add_mean(self.tail(self.add(x, self.body(x))))


def facts(blocks: int = 16, features: int = 64, scale: int = 2, res_scale: float = 1.0) -> Facts:
    """Facts of ``EDSR`` with the same arguments."""
    stages = {2: 1, 3: 1, 4: 2, 8: 3}[scale]
    return Facts(
        architecture="edsr",
        arguments={"blocks": blocks, "features": features, "scale": scale, "res_scale": res_scale},
        scale=scale,
        value_range=255.0,
        head=("head.0",),
        tail=(*(f"tail.0.{2 * i}" for i in range(stages)), "tail.1"),
        features=tuple(f"body.{i}" for i in range(blocks)),
    )
