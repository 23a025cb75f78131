"""GPTAQ: adjusts weights for the error of quantized inputs (Li et al., ICML 2025).

Each layer shall give the outputs of the float network, although its inputs come from quantized layers before it. With
``X`` the float inputs and ``Q`` the grid points of the quantized inputs, means subtracted where the layer has a bias,
the weight ``W`` is replaced by the least-squares solution ``W + W (X - Q) Q' (Q Q')^-1`` and then rounded by GPTQ with
``Q Q'`` as ``H``. The bias is changed by the difference of mean outputs, which is ours, not the paper's.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from srquant.devices import double, full_float32
from srquant.models.network import Network, on_device_of
from srquant.quantizers.layers import QuantLayer, quantized_weight
from srquant.weight_rounding.gptq import damped, gptq_weight, input_columns, zero_padded
from srquant.weight_rounding.run_side_by_side import run_side_by_side

DAMPING = 0.1
"""Added to the diagonal of the moments, relative to its mean, before their inverse; as published for vision."""

CROPS, SIDE = 100, 32
"""Most calibration crops, and the side of the centre crop taken from each; all are processed in one batch."""

SMALLEST_ERROR = 1e-4
"""Smallest error of a crop in its weight, relative to the mean square of the inputs."""


@torch.no_grad()
@full_float32()
def apply_gptaq(student: Network, batches: Iterable[Tensor]) -> None:
    """Put the weights of all quantized layers on their grids and change their biases, in place.

    Args:
        student: quantized, with final bounds and the weights of the float network.
        batches: calibration crops, ``N x 3 x H x W`` in [0, 1]; the centres of the first 100 are used.
    """
    run_side_by_side(student, middle(torch.cat(list(on_device_of(student, batches)))[:CROPS]), adjust_layer)


def middle(images: Tensor) -> Tensor:
    """At most 32 rows and columns from the middle of each picture."""
    top, left = (max(size - SIDE, 0) // 2 for size in images.shape[2:])
    return images[..., top : top + SIDE, left : left + SIDE]


def adjust_layer(layer: QuantLayer, inputs: Tensor, quantized_inputs: Tensor) -> None:
    """Change weight and bias of one layer, in place.

    Args:
        layer: with the weight and the bias of the float network.
        inputs: of the float layer.
        quantized_inputs: of the quantized layer, before its grid; same shape.
    """
    weight, bias = layer.layer.weight, layer.layer.bias
    seen = statistics(layer, inputs, quantized_inputs)
    rows = double(weight.reshape(len(seen.mean), -1, seen.mean.shape[1]))
    weight.copy_((rows + rows @ least_squares_change(seen)).view_as(weight))
    weight.copy_(gptq_weight(layer, seen.moments))
    if bias is not None:
        points = double(quantized_weight(layer).reshape(rows.shape))
        bias.copy_(double(bias) + (_outputs(rows, seen.float_mean) - _outputs(points, seen.mean)))


@dataclass(frozen=True)
class Statistics:
    """Statistics of a layer's inputs, for each of its groups, in float64; centred where the layer has a bias.

    A crop's weight is the inverse of its mean squared error, since PSNR is a mean of logarithms.

    Attributes:
        moments: second moments of grid points, ``groups x inputs x inputs``.
        lost: sum of ``(x - q) q'`` over positions, ``x`` the float inputs and ``q`` the grid points, same shape.
        mean: mean of grid points, ``groups x inputs``.
        float_mean: mean of the float inputs, same shape.
    """

    moments: Tensor
    lost: Tensor
    mean: Tensor
    float_mean: Tensor


def statistics(layer: QuantLayer, inputs: Tensor, quantized_inputs: Tensor) -> Statistics:
    """The statistics of float inputs and of the grid points of quantized inputs."""
    points = layer.points(quantized_inputs)
    smallest_error = SMALLEST_ERROR * float(inputs.square().mean())
    moments = lost = total = float_total = torch.zeros(())
    positions = 0.0
    for picture, seen in zip(zero_padded(layer, inputs), points, strict=True):
        (x,), (q,) = input_columns(layer, picture[None]), input_columns(layer, seen[None])
        weight = 1 / max(float((x - q).square().mean()), smallest_error)
        moments, lost = moments + weight * double(q @ q.mT), lost + weight * double((x - q) @ q.mT)
        total, float_total = total + weight * double(q).sum(2), float_total + weight * double(x).sum(2)
        positions += weight * q.shape[2]
    mean, float_mean = total / positions, float_total / positions
    if layer.layer.bias is not None:
        moments = moments - positions * mean[:, :, None] * mean[:, None]
        lost = lost - positions * (float_mean - mean)[:, :, None] * mean[:, None]
    return Statistics(moments, lost, mean, float_mean)


def least_squares_change(seen: Statistics) -> Tensor:
    """The matrix ``C`` of the change ``W C`` of a weight ``W``, ``groups x inputs x inputs``."""
    change: Tensor = torch.linalg.solve(damped(seen.moments, DAMPING), seen.lost, left=False)
    return change


def _outputs(rows: Tensor, means: Tensor) -> Tensor:
    """Mean outputs of ``groups x outputs x inputs`` weights, flat."""
    return (rows @ means[..., None]).flatten()
