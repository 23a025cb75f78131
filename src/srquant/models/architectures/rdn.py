"""RDN: Zhang et al., "Residual Dense Network for Image Super-Resolution", CVPR 2018. Works in [0, 255], no mean shift.

Keys as in EDSR-PyTorch: ``SFENet{1,2}``, ``RDBs.{d}.convs.{c}.conv.0``, ``RDBs.{d}.LFF``, ``GFF.{0,1}``,
``UPNet.{0,2,4}``. The port of yjn870: ``sfe{1,2}``, ``rdbs.{d}.layers.{c}.conv``, ``rdbs.{d}.lff``, ``gff``,
``upscale``, ``output``. The network of idealo/image-super-resolution has the body of EDSR-PyTorch and its own
upsampler, ``UPN{1,2,3}`` and ``SR``; here ``UPNet.{0,2,4,5}``.
"""

import math

import torch
from torch import Tensor, nn

from srquant.errors import CheckpointError
from srquant.models.blocks.layers import Add, conv, upsampler
from srquant.models.layout import Architecture, Arguments, Layout, Weights, count, rename, upscaling
from srquant.models.network import Facts


class DenseLayer(nn.Module):
    """Appends ``growth`` new channels to the input."""

    def __init__(self, in_channels: int, growth: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(conv(in_channels, growth), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """``N x C x H x W`` to ``N x (C + growth) x H x W``."""
        return torch.cat([x, self.conv(x)], 1)


class ResidualDenseBlock(nn.Module):
    """Dense layers, a 1x1 convolution that fuses them, a skip connection."""

    def __init__(self, features: int, growth: int, layers: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(*(DenseLayer(features + i * growth, growth) for i in range(layers)))
        self.LFF = conv(features + layers * growth, features, 1)
        self.add = Add()

    def forward(self, x: Tensor) -> Tensor:
        """``N x F x H x W`` to the same."""
        total: Tensor = self.add(x, self.LFF(self.convs(x)))
        return total


def idealo_upsampler(scale: int, features: int) -> list[nn.Module]:
    """Three convolutions, and a nearest upsampling with one more, as a convolution before a pixel shuffle."""
    pixels = 3 * scale**2
    return [
        conv(features, 64, 5),
        nn.ReLU(),
        conv(64, 32),
        nn.ReLU(),
        conv(32, pixels),
        conv(pixels, pixels),
        nn.PixelShuffle(scale),
    ]


class RDN(nn.Module):
    """The network; takes and returns RGB in [0, 255].

    Args:
        blocks: residual dense blocks (D).
        layers: convolutions per block (C).
        growth: channels that each of them appends (G).
        features: channels between blocks (G0).
        scale: 2, 3 or 4.
        idealo: whether the upsampler is that of idealo/image-super-resolution.
    """

    def __init__(
        self,
        blocks: int = 16,
        layers: int = 8,
        growth: int = 64,
        features: int = 64,
        scale: int = 4,
        idealo: bool = False,
    ) -> None:
        super().__init__()
        self.SFENet1 = conv(3, features)
        self.SFENet2 = conv(features, features)
        self.RDBs = nn.ModuleList(ResidualDenseBlock(features, growth, layers) for _ in range(blocks))
        self.GFF = nn.Sequential(conv(blocks * features, features, 1), conv(features, features))
        self.add = Add()
        last = idealo_upsampler(scale, features) if idealo else [*upsampler(scale, features), conv(features, 3)]
        self.UPNet = nn.Sequential(*last)

    def forward(self, images: Tensor) -> Tensor:
        """``N x 3 x H x W`` to ``N x 3 x scale*H x scale*W``."""
        shallow = self.SFENet1(images)
        x = self.SFENet2(shallow)
        outputs = []
        for block in self.RDBs:
            x = block(x)
            outputs.append(x)
        upscaled: Tensor = self.UPNet(self.add(shallow, self.GFF(torch.cat(outputs, 1))))
        return upscaled


def facts(
    blocks: int = 16, layers: int = 8, growth: int = 64, features: int = 64, scale: int = 4, idealo: bool = False
) -> Facts:
    """Facts of ``RDN`` with the same arguments."""
    arguments: Arguments = {"blocks": blocks, "layers": layers, "growth": growth, "features": features}
    return Facts(
        architecture="rdn",
        arguments=arguments | {"scale": scale, "idealo": idealo},
        scale=scale,
        value_range=255.0,
        head=("SFENet1", "SFENet2"),
        tail=("UPNet.0", "UPNet.2", *(("UPNet.4",) if scale == 4 or idealo else ()), *(("UPNet.5",) if idealo else ())),
        features=tuple(f"RDBs.{i}" for i in range(blocks)),
    )


def infer(weights: Weights) -> Arguments:
    """Arguments from shapes."""
    features, idealo = weights["SFENet1.weight"].shape[0], "UPNet.5.weight" in weights
    stages = ("UPNet.0", "UPNet.2") if "UPNet.4.weight" in weights else ("UPNet.0",)
    return {
        "blocks": count(weights, r"RDBs\.\d+\.LFF\.weight"),
        "layers": count(weights, r"RDBs\.0\.convs\.\d+\.conv\.0\.weight"),
        "growth": weights["RDBs.0.convs.0.conv.0.weight"].shape[0],
        "features": features,
        "scale": upscaling(weights, 3, "UPNet.5") if idealo else upscaling(weights, features, *stages),
        "idealo": idealo,
    }


def from_yjn870(weights: Weights, scale: int | None) -> Weights:
    """Rename the weights, and multiply the biases by 255.

    This port works in [0, 1]. Convolutions without bias, ReLU and sums scale with their input, so with biases
    multiplied by 255 the network computes the same in [0, 255].
    """
    stages = count(weights, r"upscale\.\d\.weight")
    renamed = rename(
        weights,
        (r"^sfe(\d)\.", r"SFENet\1."),
        (r"^rdbs\.(\d+)\.layers\.(\d+)\.conv\.", r"RDBs.\1.convs.\2.conv.0."),
        (r"^rdbs\.(\d+)\.lff\.", r"RDBs.\1.LFF."),
        (r"^gff\.", "GFF."),
        (r"^upscale\.", "UPNet."),
        (r"^output\.", f"UPNet.{2 * stages}."),
    )
    return with_white_255(renamed)


def from_idealo(weights: Weights, scale: int | None) -> Weights:
    """Rename the weights, merge nearest upsampling and ``SR``, and scale the biases from [0, 1] to [0, 255]."""
    factor = math.isqrt(weights["UPN3.weight"].shape[0] // 3)
    renamed = rename(weights, (r"^UPN1\.", "UPNet.0."), (r"^UPN2\.", "UPNet.2."), (r"^UPN3\.", "UPNet.4."))
    renamed["UPNet.5.weight"] = before_nearest(renamed.pop("SR.weight"), factor)
    renamed["UPNet.5.bias"] = renamed.pop("SR.bias").repeat_interleave(factor**2)
    return with_white_255(renamed)


def before_nearest(weight: Tensor, factor: int) -> Tensor:
    """The convolution which, followed by a pixel shuffle, equals nearest upsampling followed by ``weight``.

    Pixel ``factor*y + i`` of the upsampled picture is pixel ``y`` of the small one, so taps that read the same small
    pixel are added.

    Args:
        weight: ``C_out x C_in x 3 x 3``.
        factor: of both upsamplings.

    Returns:
        ``C_out*factor*factor x C_in x 3 x 3``.

    Raises:
        CheckpointError: the kernel isn't 3 x 3.
    """
    if weight.shape[2:] != (3, 3):
        raise CheckpointError(f"SR.weight is {tuple(weight.shape)}; its kernel must be 3 x 3")
    merged = weight.new_zeros(weight.shape[0], factor, factor, *weight.shape[1:])
    for i, j, u, v in torch.cartesian_prod(*map(torch.arange, (factor, factor, 3, 3))).tolist():
        merged[:, i, j, :, (i + u - 1) // factor + 1, (j + v - 1) // factor + 1] += weight[:, :, u, v]
    return merged.flatten(0, 2)


def with_white_255(weights: Weights) -> Weights:
    """Biases for pictures in [0, 255] instead of [0, 1], for networks of convolutions, ReLU and sums."""
    return {name: 255.0 * t if name.endswith(".bias") else t for name, t in weights.items()}


ARCHITECTURE = Architecture(
    name="rdn",
    module=RDN,
    facts=facts,
    infer=infer,
    layouts=(
        Layout(keys=("SFENet1.weight", "RDBs.0.LFF.weight", "UPNet.0.weight")),
        Layout(
            keys=("SFENet1.weight", "RDBs.0.LFF.weight", "UPN1.weight", "UPN3.weight", "SR.weight", "SR.bias"),
            convert=from_idealo,
        ),
        Layout(keys=("sfe1.weight", "rdbs.0.lff.weight", "output.weight"), convert=from_yjn870),
    ),
)
