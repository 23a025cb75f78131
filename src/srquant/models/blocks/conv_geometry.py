"""How a convolution's kernel moves over its input."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class ConvGeometry:
    """Stride, zero padding, dilation and groups of a convolution; pairs are (height, width)."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int


def geometry_of(conv: nn.Conv2d) -> ConvGeometry:
    """The geometry of a convolution whose padding is symmetric."""
    return ConvGeometry(_pair(conv.stride), conv_padding(conv), _pair(conv.dilation), conv.groups)


def conv_padding(conv: nn.Conv2d) -> tuple[int, int]:
    """Zeros added on each side, per axis; ``same`` and ``valid`` are resolved."""
    if isinstance(conv.padding, str):
        if conv.padding == "valid":
            return 0, 0
        (kernel_h, kernel_w), (dilation_h, dilation_w) = conv.kernel_size, conv.dilation
        return dilation_h * (kernel_h - 1) // 2, dilation_w * (kernel_w - 1) // 2
    return conv.padding[0], conv.padding[1]


def layer_of(weight: Tensor, bias: Tensor, geometry: ConvGeometry | None) -> nn.Conv2d | nn.Linear:
    """The convolution (with a geometry) or linear layer (without) of these weights, for evaluation.

    Args:
        weight: ``C_out x C_in/groups x kH x kW`` or ``out x in``.
        bias: ``C_out``.
        geometry: of a convolution.
    """
    layer = new_layer(weight.shape, True, geometry, "meta")
    layer.weight, layer.bias = (nn.Parameter(values, requires_grad=False) for values in (weight, bias))
    return layer


def new_layer(shape: Sequence[int], bias: bool, geometry: ConvGeometry | None, device: str) -> nn.Conv2d | nn.Linear:
    """A convolution (with a geometry) or linear layer (without), with random weights.

    Args:
        shape: of the weight, ``C_out x C_in/groups x kH x kW`` or ``out x in``.
        bias: whether it has one.
        geometry: of a convolution.
        device: of the weights; on ``meta`` they take no memory.
    """
    outputs, inputs, *kernel = shape
    if geometry is None:
        return nn.Linear(inputs, outputs, bias, device=torch.device(device))
    g, size = geometry, (kernel[0], kernel[1])
    return nn.Conv2d(
        inputs * g.groups, outputs, size, g.stride, g.padding, g.dilation, g.groups, bias, device=torch.device(device)
    )


def _pair(values: tuple[int, ...]) -> tuple[int, int]:
    height, width = values
    return height, width
