"""GPTQ: rounds weights input by input; those of later inputs compensate the error (Frantar et al., ICLR 2023).

It is optimal brain surgery for rounding: with ``H`` the second moments of a layer's inputs, the weights that follow
input ``i`` move by ``-error * U[i, j] / U[i, i]``, ``U`` the upper Cholesky factor of the inverse of ``H``. So the
layer's outputs change less than with every weight at its nearest point. No bound moves.
"""

import math
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from srquant.devices import double, full_float32
from srquant.errors import PolicyError
from srquant.grids.uniform import fake_quantize
from srquant.models.hooks import watch_inputs
from srquant.models.network import Network, on_device_of
from srquant.quantizers.base import WeightQuantizer
from srquant.quantizers.layers import QuantConv2d, QuantLayer, channel_steps, quant_layers

DAMPING = 0.01
"""Added to the diagonal of the moments, relative to its mean, as published."""

DAMPINGS = [DAMPING * 10**i for i in range(8)]
"""Tried one after the other; the last one exceeds all that rounding can do to the moments."""

POSITIONS = 512
"""Number of evenly spaced positions of each crop that are used."""


@torch.no_grad()
@full_float32()
def apply_gptq(student: Network, network: Network, batches: Iterable[Tensor]) -> None:
    """Put the weights of all quantized layers on their grids, in place.

    Args:
        student: quantized, with final bounds and the weights of the float network.
        network: the float network, which gives the activations.
        batches: calibration crops, ``N x 3 x H x W`` in [0, 1].
    """
    layers = quant_layers(student)
    moments = input_moments(network, layers, batches)
    for name, layer in layers.items():
        layer.layer.weight.copy_(gptq_weight(layer, moments[name]))


def input_moments(network: Network, layers: Mapping[str, QuantLayer], batches: Iterable[Tensor]) -> dict[str, Tensor]:
    """Second moments of each layer's inputs in the float network, ``groups x inputs x inputs``, float64, summed."""
    moments: dict[str, Tensor] = {}

    def add(name: str, inputs: tuple[Tensor, ...]) -> None:
        for columns in input_columns(layers[name], zero_padded(layers[name], inputs[0])):
            seen = double(columns @ columns.transpose(1, 2))
            moments[name] = moments[name] + seen if name in moments else seen

    with watch_inputs({name: network.module.get_submodule(name) for name in layers}, add):
        for images in on_device_of(network, batches):
            network.eval()(images)
    return moments


def zero_padded(layer: QuantLayer, x: Tensor) -> Tensor:
    """Inputs of a layer, for a convolution with its zero padding."""
    if not isinstance(layer, QuantConv2d):
        return x
    vertical, horizontal = layer.padding
    return F.pad(x, (horizontal, horizontal, vertical, vertical))


def input_columns(layer: QuantLayer, padded: Tensor) -> Iterator[Tensor]:
    """The inputs that a layer multiplies its weights with, ``groups x inputs x positions``, picture by picture.

    Args:
        layer: a linear layer, or a convolution.
        padded: its inputs, for a convolution with their padding.
    """
    if not isinstance(layer, QuantConv2d):
        yield padded.flatten(0, -2).T[None]
        return
    conv = layer.layer
    for picture in padded:
        columns = F.unfold(picture[None], conv.kernel_size, conv.dilation, stride=conv.stride)[0]
        columns = columns[:, :: math.ceil(columns.shape[1] / POSITIONS)]
        yield columns.reshape(conv.groups, -1, columns.shape[1])


def gptq_weight(layer: QuantLayer, moments: Tensor) -> Tensor:
    """The weight on its grid, with rounding errors compensated.

    Args:
        layer: the layer, with its float weight.
        moments: of its inputs, as ``input_moments``.
    """
    steps, groups = channel_steps(layer.weight, layer.input_quantizer), len(moments)
    relative = torch.ones_like(layer.weight) if steps is None else steps.expand_as(layer.weight)
    shape = groups, -1, moments.shape[1]
    rows, shares = (double(values.reshape(shape)) for values in (layer.weight, relative))
    moments = moments / (shares[:, 0, :, None] * shares[:, 0, None, :])
    order = moments.diagonal(dim1=1, dim2=2).sum(0).argsort(descending=True)
    factors = inverse_factors(moments[:, order][:, :, order])
    points = rounded((rows * shares)[..., order], factors, layer.weight_quantizer)[..., order.argsort()]
    weight: Tensor = (points / shares).to(layer.weight.dtype).view_as(layer.weight)
    return weight


def inverse_factors(moments: Tensor) -> Tensor:
    """The upper Cholesky factors of the inverses of damped moments, both ``groups x inputs x inputs``.

    The damping grows tenfold as long as the moments aren't positive definite, as rounding makes those of inputs whose
    mean is far larger than their deviation.

    Raises:
        PolicyError: no damping helps, because the moments aren't finite.
    """
    for share in DAMPINGS:
        lower, singular = torch.linalg.cholesky_ex(damped(moments, share))
        factors: Tensor
        factors, imprecise = torch.linalg.cholesky_ex(torch.cholesky_inverse(lower), upper=True)
        if not bool(singular.any() or imprecise.any()):
            return factors
    raise PolicyError("the inputs of a layer aren't finite on the calibration pictures: give other pictures or weights")


def damped(moments: Tensor, share: float) -> Tensor:
    """Moments, ``groups x inputs x inputs``, with ``share`` of their mean diagonal added to the diagonal.

    A group whose inputs are always zero gets the identity: its weights are rounded to the nearest points.
    """
    mean = moments.diagonal(dim1=1, dim2=2).mean(1)
    damping = torch.where(mean > 0, share * mean, 1.0)
    return moments + damping[:, None, None] * torch.eye(moments.shape[1]).to(moments)


def rounded(rows: Tensor, factors: Tensor, quantizer: WeightQuantizer) -> Tensor:
    """Grid points of the weights, rounded column by column.

    Args:
        rows: ``groups x outputs x inputs``, in the order in which they are rounded; float64.
        factors: from ``inverse_factors``.
        quantizer: of the weights, with one grid or one per output.
    """
    groups, outputs, inputs = rows.shape
    shape = groups, outputs
    lower, upper = (double(bound).flatten().expand(groups * outputs).view(shape) for bound in quantizer.grid())
    left, points = rows.clone(), torch.empty_like(rows)
    for i in range(inputs):
        points[..., i] = fake_quantize(left[..., i], lower, upper, quantizer.levels)
        error = (left[..., i] - points[..., i]) / factors[:, i, i, None]
        left[..., i:] -= error[..., None] * factors[:, None, i, i:]
    return points
