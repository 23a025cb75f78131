"""How a convolution's kernel moves over its input."""

from dataclasses import dataclass

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
    layer: nn.Conv2d | nn.Linear
    if geometry is None:
        layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    else:
        g, kernel = geometry, (weight.shape[2], weight.shape[3])
        channels = weight.shape[1] * g.groups
        layer = nn.Conv2d(channels, weight.shape[0], kernel, g.stride, g.padding, g.dilation, g.groups, device="meta")
    layer.weight, layer.bias = (nn.Parameter(values, requires_grad=False) for values in (weight, bias))
    return layer


def _pair(values: tuple[int, ...]) -> tuple[int, int]:
    height, width = values
    return height, width
