"""RRDBNet: Wang et al., "ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks", ECCVW 2018.

The network of ESRGAN, BSRGAN and Real-ESRGAN. Works in [0, 1], no mean shift. Real-ESRGAN's x2 and x1 begin with a
pixel unshuffle, so that the body works on half or a quarter of the size. ESRGAN+ (Rakotonirina and Rasoanaivo, ICASSP
2020) has two more paths in each dense block; its noise exists in training only.

Keys as in BasicSR: ``conv_first``, ``body.{i}.rdb{1,2,3}.conv{1..5}``, ``conv_body``, ``conv_up{1..}``, ``conv_hr``,
``conv_last``. The first release: ``RRDB_trunk.{i}.RDB{j}.conv{k}``, ``trunk_conv``, ``upconv{1..}``, ``HRconv``. The
oldest models: ``model.0``, ``model.1.sub.{i}.RDB{j}.conv{k}.0``, ``model.1.sub.{blocks}``, then numbers.
"""

import math
import re

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srquant.errors import CheckpointError
from srquant.models.blocks.layers import Add, conv
from srquant.models.layout import Architecture, Arguments, Layout, Weights, count, rename
from srquant.models.network import Facts

RESIDUAL_SCALE = 0.2
SLOPE = 0.2
COLOURS = 3


class DenseBlock(nn.Module):
    """``x + 0.2 * y``; each of five convolutions reads ``x`` and the results of all before it, ``y`` is the last one.

    Args:
        features: channels of ``x``.
        growth: channels of the first four results.
        plus: whether the second result gets a 1x1 convolution of ``x``, and the fourth gets the second (ESRGAN+).
    """

    def __init__(self, features: int, growth: int, plus: bool) -> None:
        super().__init__()
        self.conv1 = conv(features, growth)
        self.conv2 = conv(features + growth, growth)
        self.conv3 = conv(features + 2 * growth, growth)
        self.conv4 = conv(features + 3 * growth, growth)
        self.conv5 = conv(features + 4 * growth, features)
        self.conv1x1 = conv(features, growth, 1, bias=False) if plus else None
        self.lrelu = nn.LeakyReLU(SLOPE)
        self.add = Add(RESIDUAL_SCALE)

    def forward(self, x: Tensor) -> Tensor:
        """``N x F x H x W`` to the same."""
        first = self.lrelu(self.conv1(x))
        second = self.lrelu(self.conv2(torch.cat([x, first], 1)))
        second = second if self.conv1x1 is None else second + self.conv1x1(x)
        third = self.lrelu(self.conv3(torch.cat([x, first, second], 1)))
        fourth = self.lrelu(self.conv4(torch.cat([x, first, second, third], 1)))
        fourth = fourth if self.conv1x1 is None else fourth + second
        total: Tensor = self.add(x, self.conv5(torch.cat([x, first, second, third, fourth], 1)))
        return total


class ResidualInResidual(nn.Module):
    """RRDB: ``x + 0.2 * y``, where three dense blocks give ``y``."""

    def __init__(self, features: int, growth: int, plus: bool) -> None:
        super().__init__()
        self.rdb1 = DenseBlock(features, growth, plus)
        self.rdb2 = DenseBlock(features, growth, plus)
        self.rdb3 = DenseBlock(features, growth, plus)
        self.add = Add(RESIDUAL_SCALE)

    def forward(self, x: Tensor) -> Tensor:
        """``N x F x H x W`` to the same."""
        total: Tensor = self.add(x, self.rdb3(self.rdb2(self.rdb1(x))))
        return total


class RRDBNet(nn.Module):
    """The network; takes and returns RGB in [0, 1].

    Args:
        blocks: residual-in-residual blocks.
        features: channels between blocks.
        growth: channels that a convolution in a dense block appends.
        scale: 1, 2, 4 or 8.
        unshuffle: factor by which the first step makes the picture smaller: 1, 2 or 4.
        plus: whether the dense blocks are those of ESRGAN+.
    """

    def __init__(
        self,
        blocks: int = 23,
        features: int = 64,
        growth: int = 32,
        scale: int = 4,
        unshuffle: int = 1,
        plus: bool = False,
    ) -> None:
        super().__init__()
        self.unshuffle = nn.PixelUnshuffle(unshuffle) if unshuffle > 1 else nn.Identity()
        self.conv_first = conv(COLOURS * unshuffle**2, features)
        self.body = nn.Sequential(*(ResidualInResidual(features, growth, plus) for _ in range(blocks)))
        self.conv_body = conv(features, features)
        self.add = Add()
        self.ups = [f"conv_up{i + 1}" for i in range(stages(scale, unshuffle))]
        for name in self.ups:
            self.add_module(name, conv(features, features))
        self.conv_hr = conv(features, features)
        self.conv_last = conv(features, COLOURS)
        self.lrelu = nn.LeakyReLU(SLOPE)

    def forward(self, images: Tensor) -> Tensor:
        """``N x 3 x H x W`` to ``N x 3 x scale*H x scale*W``; H and W are multiples of ``unshuffle``."""
        shallow = self.conv_first(self.unshuffle(images))
        x = self.add(shallow, self.conv_body(self.body(shallow)))
        for name in self.ups:
            x = self.lrelu(self.get_submodule(name)(F.interpolate(x, scale_factor=2.0, mode="nearest")))
        upscaled: Tensor = self.conv_last(self.lrelu(self.conv_hr(x)))
        return upscaled


def stages(scale: int, unshuffle: int) -> int:
    """How often the size is doubled."""
    return round(math.log2(scale * unshuffle))


def facts(
    blocks: int = 23, features: int = 64, growth: int = 32, scale: int = 4, unshuffle: int = 1, plus: bool = False
) -> Facts:
    """Facts of ``RRDBNet`` with the same arguments."""
    sizes: Arguments = {"blocks": blocks, "features": features, "growth": growth, "scale": scale}
    return Facts(
        architecture="rrdbnet",
        arguments=sizes | {"unshuffle": unshuffle, "plus": plus},
        scale=scale,
        value_range=1.0,
        head=("conv_first",),
        tail=(*(f"conv_up{i + 1}" for i in range(stages(scale, unshuffle))), "conv_hr", "conv_last"),
        features=tuple(f"body.{i}" for i in range(blocks)),
        multiple_of=unshuffle,
    )


def infer(weights: Weights) -> Arguments:
    """Arguments from names and shapes.

    Raises:
        CheckpointError: the network is not one for RGB, or its scale isn't a whole number.
    """
    features, channels = weights["conv_first.weight"].shape[:2]
    unshuffle = math.isqrt(channels // COLOURS)
    if channels != COLOURS * unshuffle**2 or weights["conv_last.weight"].shape[0] != COLOURS:
        colours = weights["conv_last.weight"].shape[0]
        raise CheckpointError(f"it reads {channels} channels and gives {colours}; only RGB networks are supported")
    enlarged = 2 ** count(weights, r"conv_up\d+\.weight")
    if enlarged % unshuffle:
        raise CheckpointError(f"it makes pictures smaller, by {unshuffle} / {enlarged}")
    return {
        "blocks": count(weights, r"body\.\d+\.rdb1\.conv1\.weight"),
        "features": features,
        "growth": weights["body.0.rdb1.conv1.weight"].shape[0],
        "scale": enlarged // unshuffle,
        "unshuffle": unshuffle,
        "plus": "body.0.rdb1.conv1x1.weight" in weights,
    }


def from_first_release(weights: Weights, scale: int | None) -> Weights:
    """Rename ``RRDB_trunk``, ``trunk_conv``, ``upconv`` and ``HRconv``."""
    return rename(
        weights,
        (r"^RRDB_trunk\.", "body."),
        (r"\.RDB([123])\.", r".rdb\1."),
        (r"^trunk_conv\.", "conv_body."),
        (r"^upconv(\d)\.", r"conv_up\1."),
        (r"^HRconv\.", "conv_hr."),
    )


def from_oldest(weights: Weights, scale: int | None) -> Weights:
    """Rename numbers of a sequence; behind the body they depend on how often the size is doubled."""
    found = [re.fullmatch(r"model\.(\d+)\.weight", name) for name in weights]
    behind = sorted(int(match[1]) for match in found if match and match[1] != "0")
    names = [*(f"conv_up{i + 1}" for i in range(len(behind) - 2)), "conv_hr", "conv_last"]
    return rename(
        weights,
        (r"^model\.0\.", "conv_first."),
        (r"^model\.1\.sub\.(\d+)\.RDB([123])\.(conv\d(?:x\d)?)\.(?:0\.)?", r"body.\1.rdb\2.\3."),
        (r"^model\.1\.sub\.\d+\.", "conv_body."),
        *((rf"^model\.{number}\.", f"{name}.") for number, name in zip(behind, names, strict=True)),
    )


ARCHITECTURE = Architecture(
    name="rrdbnet",
    module=RRDBNet,
    facts=facts,
    infer=infer,
    layouts=(
        Layout(keys=("conv_first.weight", "body.0.rdb1.conv1.weight", "conv_last.weight")),
        Layout(
            keys=("conv_first.weight", "RRDB_trunk.0.RDB1.conv1.weight", "conv_last.weight"),
            convert=from_first_release,
        ),
        Layout(keys=("model.0.weight", "model.1.sub.0.RDB1.conv1.0.weight"), convert=from_oldest),
    ),
)
