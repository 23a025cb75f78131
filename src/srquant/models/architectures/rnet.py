"""RNet: the EDSR-like network in the early history of CARN-pytorch (Ahn et al., ECCV 2018).

Like EDSR, but the convolutions of the residual blocks have no bias, and a ReLU follows each residual sum.
Works in [0, 1]. Keys: ``entry``, ``blocks.{i}.body.{0,2}``, ``upsamplex{scale}.body.{0,3}`` (here
``upsample.up``), ``exit``.
"""

from torch import Tensor, nn

from srquant.models.architectures.carn import Shift, Upsampler
from srquant.models.blocks.layers import Add, conv
from srquant.models.layout import Architecture, Arguments, Layout, Weights, count, rename, upscaling
from srquant.models.network import Facts


class ResidualBlock(nn.Module):
    """``relu(x + conv(relu(conv(x))))``."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(features, features, bias=False), nn.ReLU(), conv(features, features, bias=False))
        self.add = Add()
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """``N x F x H x W`` to the same."""
        total: Tensor = self.relu(self.add(x, self.body(x)))
        return total


class RNet(nn.Module):
    """The network; takes and returns RGB in [0, 1]."""

    def __init__(self, blocks: int = 9, features: int = 64, scale: int = 4) -> None:
        super().__init__()
        self.sub_mean = Shift(-1)
        self.entry = conv(3, features, bias=False)
        self.blocks = nn.Sequential(*(ResidualBlock(features) for _ in range(blocks)))
        self.add = Add()
        self.upsample = Upsampler(scale, features, groups=1)
        self.exit = conv(features, 3)
        self.add_mean = Shift(+1)

    def forward(self, images: Tensor) -> Tensor:
        """``N x 3 x H x W`` to ``N x 3 x scale*H x scale*W``."""
        x = self.entry(self.sub_mean(images))
        upscaled: Tensor = self.add_mean(self.exit(self.upsample(self.add(x, self.blocks(x)))))
        return upscaled


def facts(blocks: int = 9, features: int = 64, scale: int = 4) -> Facts:
    """Facts of ``RNet`` with the same arguments."""
    return Facts(
        architecture="rnet",
        arguments={"blocks": blocks, "features": features, "scale": scale},
        scale=scale,
        value_range=1.0,
        head=("entry",),
        tail=(*(f"upsample.up.body.{3 * i}" for i in range(2 if scale == 4 else 1)), "exit"),
        features=tuple(f"blocks.{i}" for i in range(blocks)),
    )


def infer(weights: Weights) -> Arguments:
    """Arguments from shapes."""
    features = weights["entry.weight"].shape[0]
    return {
        "blocks": count(weights, r"blocks\.\d+\.body\.0\.weight"),
        "features": features,
        "scale": upscaling(weights, features, "upsample.up.body.0", "upsample.up.body.3"),
    }


def from_official(weights: Weights, scale: int | None) -> Weights:
    """Rename ``upsamplex4`` to ``upsample.up``."""
    return rename(weights, (r"^upsamplex\d\.", "upsample.up."))


ARCHITECTURE = Architecture(
    name="rnet",
    module=RNet,
    facts=facts,
    infer=infer,
    layouts=(Layout(keys=("entry.weight", "blocks.0.body.0.weight", "exit.weight"), convert=from_official),),
)
