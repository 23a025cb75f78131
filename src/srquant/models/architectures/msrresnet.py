"""MSRResNet: the SRResNet of BasicSR, without batch norm, with leaky ReLU and a bilinear skip connection.

Wang et al., "ESRGAN", ECCVW 2018. Works in [0, 1]. Keys as in BasicSR: ``conv_first``, ``body.{i}.conv{1,2}``,
``upconv1``, ``upconv2`` (x4), ``conv_hr``, ``conv_last``; ClassSR calls ``body`` ``recon_trunk`` and
``conv_hr`` ``HRconv``.
"""

from torch import Tensor, nn

from srquant.models.blocks.layers import Add, conv
from srquant.models.layout import Architecture, Arguments, Layout, Weights, count, rename, upscaling
from srquant.models.network import Facts


class ResidualBlock(nn.Module):
    """``x + conv2(relu(conv1(x)))``."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = conv(features, features)
        self.relu = nn.ReLU()
        self.conv2 = conv(features, features)
        self.add = Add()

    def forward(self, x: Tensor) -> Tensor:
        """``N x F x H x W`` to the same."""
        total: Tensor = self.add(x, self.conv2(self.relu(self.conv1(x))))
        return total


class MSRResNet(nn.Module):
    """The network; takes and returns RGB in [0, 1]."""

    def __init__(self, blocks: int = 16, features: int = 64, scale: int = 4) -> None:
        super().__init__()
        factor = 3 if scale == 3 else 2
        self.two_stages = scale == 4
        self.conv_first = conv(3, features)
        self.body = nn.Sequential(*(ResidualBlock(features) for _ in range(blocks)))
        self.upconv1 = conv(features, factor**2 * features)
        if self.two_stages:
            self.upconv2 = conv(features, factor**2 * features)
        self.shuffle = nn.PixelShuffle(factor)
        self.conv_hr = conv(features, features)
        self.conv_last = conv(features, 3)
        self.lrelu = nn.LeakyReLU(0.1)
        self.bilinear = nn.Upsample(scale_factor=float(scale), mode="bilinear", align_corners=False)
        self.add = Add()

    def forward(self, images: Tensor) -> Tensor:
        """``N x 3 x H x W`` to ``N x 3 x scale*H x scale*W``."""
        x = self.body(self.lrelu(self.conv_first(images)))
        x = self.lrelu(self.shuffle(self.upconv1(x)))
        if self.two_stages:
            x = self.lrelu(self.shuffle(self.upconv2(x)))
        x = self.conv_last(self.lrelu(self.conv_hr(x)))
        upscaled: Tensor = self.add(self.bilinear(images), x)
        return upscaled


def facts(blocks: int = 16, features: int = 64, scale: int = 4) -> Facts:
    """Facts of ``MSRResNet`` with the same arguments."""
    return Facts(
        architecture="msrresnet",
        arguments={"blocks": blocks, "features": features, "scale": scale},
        scale=scale,
        value_range=1.0,
        head=("conv_first",),
        tail=("upconv1", *(("upconv2",) if scale == 4 else ()), "conv_hr", "conv_last"),
        features=tuple(f"body.{i}" for i in range(blocks)),
    )


def infer(weights: Weights) -> Arguments:
    """Arguments from shapes."""
    features = weights["conv_first.weight"].shape[0]
    return {
        "blocks": count(weights, r"body\.\d+\.conv1\.weight"),
        "features": features,
        "scale": upscaling(weights, features, "upconv1", "upconv2"),
    }


def from_classsr(weights: Weights, scale: int | None) -> Weights:
    """Rename ``recon_trunk`` and ``HRconv``."""
    return rename(weights, (r"^recon_trunk\.", "body."), (r"^HRconv\.", "conv_hr."))


ARCHITECTURE = Architecture(
    name="msrresnet",
    module=MSRResNet,
    facts=facts,
    infer=infer,
    layouts=(
        Layout(keys=("conv_first.weight", "body.0.conv1.weight", "upconv1.weight", "conv_hr.weight")),
        Layout(keys=("conv_first.weight", "recon_trunk.0.conv1.weight", "upconv1.weight"), convert=from_classsr),
    ),
)
