"""SRResNet with batch norm and PReLU: Ledig et al., "Photo-Realistic Single Image Super-Resolution", CVPR 2017.

Works in [0, 255], no mean shift. Keys as in AdaBM: ``head.{0,1}``, ``body.{i}.{conv1,bn1,act,conv2,bn2}``,
``body.{blocks}`` (convolution), ``body.{blocks+1}`` (norm), ``tail.0.{0,2,3,5}``, ``tail.1``. Another port names
them ``conv_input``, ``body.{i}.prelu``, ``conv_mid``, ``up.{0,1}.{conv,prelu}``, ``conv_output``. The network of
krasserm/super-resolution ends in a tanh; its last convolution is ``conv_output_tanh``, here ``tail.1.0``.
"""

from torch import Tensor, nn

from srquant.models.blocks.layers import Add, conv
from srquant.models.layout import Architecture, Arguments, Layout, Weights, count, rename, upscaling
from srquant.models.network import Facts


class ResidualBlock(nn.Module):
    """``x + bn2(conv2(act(bn1(conv1(x)))))``; without batch norms the convolutions have biases."""

    def __init__(self, features: int, slopes: int, batch_norm: bool) -> None:
        super().__init__()
        self.batch_norm = batch_norm
        self.conv1 = conv(features, features, bias=not batch_norm)
        self.act = nn.PReLU(slopes)
        self.conv2 = conv(features, features, bias=not batch_norm)
        if batch_norm:
            self.bn1 = nn.BatchNorm2d(features)
            self.bn2 = nn.BatchNorm2d(features)
        self.add = Add()

    def forward(self, x: Tensor) -> Tensor:
        """``N x F x H x W`` to the same."""
        if self.batch_norm:
            y = self.bn2(self.conv2(self.act(self.bn1(self.conv1(x)))))
        else:
            y = self.conv2(self.act(self.conv1(x)))
        total: Tensor = self.add(x, y)
        return total


class TanhPicture(nn.Module):
    """``255 * (tanh(x) + 1) / 2``: any number to a value in [0, 255]."""

    def __init__(self) -> None:
        super().__init__()
        self.tanh = nn.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        """``N x 3 x H x W`` to the same."""
        picture: Tensor = 127.5 * self.tanh(x) + 127.5
        return picture


class SRResNet(nn.Module):
    """The network; takes and returns RGB in [0, 255].

    Args:
        blocks: residual blocks.
        features: channels.
        scale: 2 or 4.
        slopes: parameters per PReLU, 1 or ``features``.
        bias: whether the convolutions of head and tail have biases.
        batch_norm: False if the norms are folded into the convolutions.
        tanh: whether the output is ``255 * (tanh(x) + 1) / 2`` of the last convolution's ``x``.
    """

    def __init__(
        self,
        blocks: int = 16,
        features: int = 64,
        scale: int = 4,
        slopes: int = 1,
        bias: bool = False,
        batch_norm: bool = True,
        tanh: bool = False,
    ) -> None:
        super().__init__()
        self.head = nn.Sequential(conv(3, features, 9, bias=bias), nn.PReLU(slopes))
        body: list[nn.Module] = [ResidualBlock(features, slopes, batch_norm) for _ in range(blocks)]
        body += [conv(features, features, bias=not batch_norm)]
        if batch_norm:
            body += [nn.BatchNorm2d(features)]
        self.body = nn.Sequential(*body)
        self.add = Add()
        up: list[nn.Module] = []
        for _ in range({2: 1, 4: 2}[scale]):
            up += [conv(features, 4 * features, bias=bias), nn.PixelShuffle(2), nn.PReLU(slopes)]
        last = conv(features, 3, 9, bias=bias)
        self.tail = nn.Sequential(nn.Sequential(*up), nn.Sequential(last, TanhPicture()) if tanh else last)

    def forward(self, images: Tensor) -> Tensor:
        """``N x 3 x H x W`` to ``N x 3 x scale*H x scale*W``."""
        x = self.head(images)
        upscaled: Tensor = self.tail(self.add(x, self.body(x)))
        return upscaled


def facts(
    blocks: int = 16,
    features: int = 64,
    scale: int = 4,
    slopes: int = 1,
    bias: bool = False,
    batch_norm: bool = True,
    tanh: bool = False,
) -> Facts:
    """Facts of ``SRResNet`` with the same arguments."""
    arguments: Arguments = {"blocks": blocks, "features": features, "scale": scale}
    return Facts(
        architecture="srresnet",
        arguments=arguments | {"slopes": slopes, "bias": bias, "batch_norm": batch_norm, "tanh": tanh},
        scale=scale,
        value_range=255.0,
        head=("head.0",),
        tail=("tail.0.0", *(("tail.0.3",) if scale == 4 else ()), "tail.1.0" if tanh else "tail.1"),
        features=tuple(f"body.{i}" for i in range(blocks)),
    )


def infer(weights: Weights) -> Arguments:
    """Arguments from shapes."""
    features = weights["head.0.weight"].shape[0]
    return {
        "blocks": count(weights, r"body\.\d+\.conv1\.weight"),
        "features": features,
        "scale": upscaling(weights, features, "tail.0.0", "tail.0.3"),
        "slopes": weights["head.1.weight"].shape[0],
        "bias": "head.0.bias" in weights,
        "batch_norm": "body.0.bn1.weight" in weights,
        "tanh": "tail.1.0.weight" in weights,
    }


def without_shifts(weights: Weights, scale: int | None) -> Weights:
    """Drop the mean shifts that CADyQ stores but doesn't use."""
    return {name: tensor for name, tensor in weights.items() if not name.startswith(("sub_mean.", "add_mean."))}


def from_caffe2(weights: Weights, scale: int | None) -> Weights:
    """Rename the weights; this port takes [0, 1] and returns [-1, 1], so head and tail are scaled to [0, 255]."""
    renamed = from_tanh(weights, scale)
    renamed["tail.1.weight"] = renamed["tail.1.weight"] * 127.5
    renamed["tail.1.bias"] = renamed["tail.1.bias"] * 127.5 + 127.5
    return renamed


def from_tanh(weights: Weights, scale: int | None) -> Weights:
    """Rename the weights; this port takes [0, 1], so the head is scaled to [0, 255]; ``TanhPicture`` scales back."""
    blocks = count(weights, r"body\.\d+\.conv1\.weight")
    renamed = rename(
        weights,
        (r"^conv_input\.", "head.0."),
        (r"^prelu_input\.", "head.1."),
        (r"\.prelu\.", ".act."),
        (r"^conv_mid\.", f"body.{blocks}."),
        (r"^bn_mid\.", f"body.{blocks + 1}."),
        (r"^up\.0\.conv\.", "tail.0.0."),
        (r"^up\.0\.act\.", "tail.0.2."),
        (r"^up\.1\.conv\.", "tail.0.3."),
        (r"^up\.1\.act\.", "tail.0.5."),
        (r"^conv_output\.", "tail.1."),
        (r"^conv_output_tanh\.", "tail.1.0."),
    )
    renamed["head.0.weight"] = renamed["head.0.weight"] / 255.0
    return renamed


ARCHITECTURE = Architecture(
    name="srresnet",
    module=SRResNet,
    facts=facts,
    infer=infer,
    layouts=(
        Layout(keys=("head.0.weight", "head.1.weight", "body.0.conv1.weight", "tail.1.weight"), convert=without_shifts),
        Layout(
            keys=("head.0.weight", "head.1.weight", "body.0.conv1.weight", "tail.1.0.weight"), convert=without_shifts
        ),
        Layout(keys=("conv_input.weight", "prelu_input.weight", "conv_output.weight"), convert=from_caffe2),
        Layout(keys=("conv_input.weight", "prelu_input.weight", "conv_output_tanh.weight"), convert=from_tanh),
    ),
)
