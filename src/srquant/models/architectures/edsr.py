"""EDSR: Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution", CVPRW 2017.

Baseline: 16 blocks of 64 features; large: 32 blocks of 256 features and ``res_scale`` 0.1. Works in [0, 255].
Keys as in EDSR-PyTorch: ``head.0``, ``body.{i}.body.{0,2}``, ``body.{blocks}``, ``tail.0.{0,2}``, ``tail.1``.
"""

from torch import Tensor, nn

from srquant.models.blocks.layers import Add, conv, mean_shift, mean_shift_weights, upsampler, upsampler_convs
from srquant.models.layout import Architecture, Arguments, Layout, Weights, count, rename, upscaling
from srquant.models.network import Facts


class ResidualBlock(nn.Module):
    """``x + res_scale * conv(relu(conv(x)))``."""

    def __init__(self, features: int, res_scale: float) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(features, features), nn.ReLU(), conv(features, features))
        self.add = Add(res_scale)

    def forward(self, x: Tensor) -> Tensor:
        """``N x F x H x W`` to the same."""
        total: Tensor = self.add(x, self.body(x))
        return total


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
        upscaled: Tensor = self.add_mean(self.tail(self.add(x, self.body(x))))
        return upscaled


def facts(blocks: int = 16, features: int = 64, scale: int = 2, res_scale: float = 1.0) -> Facts:
    """Facts of ``EDSR`` with the same arguments."""
    return Facts(
        architecture="edsr",
        arguments={"blocks": blocks, "features": features, "scale": scale, "res_scale": res_scale},
        scale=scale,
        value_range=255.0,
        head=("head.0",),
        tail=(*upsampler_convs("tail.0", scale), "tail.1"),
        features=tuple(f"body.{i}" for i in range(blocks)),
        blocks=tuple(f"body.{i}" for i in range(blocks)),
        behind_blocks=f"body.{blocks}",
    )


def infer(weights: Weights) -> Arguments:
    """Arguments from shapes; ``res_scale`` isn't stored: 0.1 from 256 features on, as published, else 1."""
    features = weights["head.0.weight"].shape[0]
    return {
        "blocks": count(weights, r"body\.\d+\.body\.0\.weight"),
        "features": features,
        "scale": upscaling(weights, features, "tail.0.0", "tail.0.2", "tail.0.4"),
        "res_scale": 0.1 if features >= 256 else 1.0,
    }


def with_shifts(weights: Weights, scale: int | None) -> Weights:
    """Add the mean shifts where none is stored, as in checkpoints of projects that compute them outside."""
    stored = any(name.startswith(("sub_mean.", "add_mean.")) for name in weights)
    return weights if stored else weights | mean_shift_weights(255.0)


def from_adabm(weights: Weights, scale: int | None) -> Weights:
    """Rename AdaBM's ``body.{i}.conv1`` and ``conv2``."""
    weights = with_shifts(weights, scale)
    return rename(weights, (r"^(body\.\d+)\.conv1\.", r"\1.body.0."), (r"^(body\.\d+)\.conv2\.", r"\1.body.2."))


def from_basicsr(weights: Weights, scale: int | None) -> Weights:
    """Rename BasicSR's ``conv_first``, ``conv_after_body``, ``upsample``, ``conv_last`` etc.; add the mean shifts."""
    blocks = count(weights, r"body\.\d+\.conv1\.weight")
    renamed = rename(
        from_adabm(weights, scale),
        (r"^conv_first\.", "head.0."),
        (r"^conv_after_body\.", f"body.{blocks}."),
        (r"^upsample\.", "tail.0."),
        (r"^conv_last\.", "tail.1."),
    )
    return renamed | mean_shift_weights(255.0)


ARCHITECTURE = Architecture(
    name="edsr",
    module=EDSR,
    facts=facts,
    infer=infer,
    layouts=(
        Layout(
            keys=("head.0.weight", "body.0.body.0.weight", "tail.1.weight"),
            without=("body.0.body.0.body.0.weight",),
            convert=with_shifts,
        ),
        Layout(
            keys=("head.0.weight", "body.0.conv1.weight", "tail.1.weight"),
            without=("body.0.bn1.weight", "head.1.weight"),
            convert=from_adabm,
        ),
        Layout(keys=("conv_first.weight", "body.0.conv1.weight", "conv_after_body.weight"), convert=from_basicsr),
    ),
)
