"""Small modules that several architectures share.

Additions are modules, so that a policy can quantize their sums (``skip_bits``).
"""

import math

import torch
from torch import Tensor, nn

RGB_MEAN = (0.4488, 0.4371, 0.4040)
"""Mean colour of DIV2K in [0, 1], subtracted by most networks."""


class Add(nn.Module):
    """``a + scale * b``: the addition of a skip connection."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Add two tensors of one shape."""
        return a + b if self.scale == 1.0 else a + self.scale * b


class MatrixProduct(nn.Module):
    """Base of the matrix products of two activations over the last two axes: float, quantized or integer."""


class Matmul(MatrixProduct):
    """Matrix product over the last two axes; a module, so that its operands can be quantized."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """``... x N x K`` and ``... x K x M`` to ``... x N x M``."""
        return a @ b


class MeanShift(nn.Module):
    """Add a colour: ``x + bias``; official checkpoints store it as a 1x1 convolution with identity weight."""

    def __init__(self, colour: tuple[float, float, float]) -> None:
        super().__init__()
        self.weight: Tensor
        self.register_buffer("weight", torch.tensor([1.0, 0, 0, 0, 1, 0, 0, 0, 1]).view(3, 3, 1, 1))
        self.bias: Tensor
        self.register_buffer("bias", torch.tensor(colour))

    def forward(self, images: Tensor) -> Tensor:
        """``N x 3 x H x W`` to the same."""
        return images + self.bias.view(1, 3, 1, 1)


def mean_shift(value_range: float, sign: int) -> MeanShift:
    """Subtracts (``sign`` -1) or adds (+1) the mean colour of DIV2K, for pictures in [0, value_range]."""
    red, green, blue = (sign * value_range * c for c in RGB_MEAN)
    return MeanShift((red, green, blue))


def mean_shift_weights(value_range: float) -> dict[str, Tensor]:
    """Weights and biases of ``sub_mean`` and ``add_mean``, for checkpoints that don't store them."""
    colour = torch.tensor(RGB_MEAN) * value_range  # in float32, as the checkpoints that store it
    identity = torch.eye(3).view(3, 3, 1, 1)
    shifts = {"sub_mean": -colour, "add_mean": colour}
    return {f"{name}.weight": identity.clone() for name in shifts} | {f"{n}.bias": bias for n, bias in shifts.items()}


def conv(in_channels: int, out_channels: int, kernel: int = 3, bias: bool = True, groups: int = 1) -> nn.Conv2d:
    """A convolution that keeps height and width."""
    return nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=bias, groups=groups)


def upsampler(scale: int, features: int) -> nn.Sequential:
    """Convolution and pixel shuffle, once for x2 and x3, twice for x4, three times for x8 (keys 0, 2, 4)."""
    if scale == 3:
        return nn.Sequential(conv(features, 9 * features), nn.PixelShuffle(3))
    layers: list[nn.Module] = []
    for _ in range(int(math.log2(scale))):
        layers += [conv(features, 4 * features), nn.PixelShuffle(2)]
    return nn.Sequential(*layers)


def upsampler_convs(name: str, scale: int) -> tuple[str, ...]:
    """Names of the convolutions of ``upsampler`` where it has the name ``name``."""
    stages = {2: 1, 3: 1, 4: 2, 8: 3}[scale]
    return tuple(f"{name}.{2 * stage}" for stage in range(stages))
