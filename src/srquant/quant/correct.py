"""Weights that also make up for what quantization did to their inputs.

GPTAQ (Li et al., ICML 2025): a layer shall give the float network's outputs although it sees grid points of what
earlier layers, quantized and corrected, gave. Its objective is met in two steps. With ``X`` the float inputs and ``Q``
the grid points, means taken off where the layer has a bias, the weight ``W`` becomes the least-squares answer
``W + W (X - Q) Q' (Q Q')^-1`` and is then rounded as in ``compensate``, with ``Q Q'`` for ``H``. The bias, ours, takes
the difference of mean outputs.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from srquant.models.network import Network
from srquant.quant.compensate import compensated_weight, input_columns, zero_padded
from srquant.quant.layers import QuantConv2d, QuantLayer, quantized_weight
from srquant.quant.side_by_side import run_side_by_side

DAMPING = 0.1
"""Added to the diagonal of the moments, relative to its mean, before their inverse; as published for vision."""

CROPS = 32
"""Calibration crops that decide; they run through the network at once."""


@torch.no_grad()
def correct(student: Network, batches: Iterable[Tensor]) -> None:
    """Put the weights of all quantized layers on their grids and change their biases, in place.

    Args:
        student: quantized, its bounds found, with the weights of the float network.
        batches: calibration crops, ``N x 3 x H x W`` in [0, 1]; the first 32 count.
    """
    run_side_by_side(student, torch.cat(list(batches))[:CROPS], correct_layer)


def correct_layer(layer: QuantLayer, inputs: Tensor, noisy: Tensor) -> None:
    """Change one layer.

    Args:
        layer: with the weight and the bias of the float network.
        inputs: of the float layer.
        noisy: of the quantized one, before its grid.
    """
    weight, bias = layer.layer.weight, layer.layer.bias
    seen = statistics(layer, inputs, noisy)
    rows = weight.reshape(len(seen.mean), -1, seen.mean.shape[1]).double()
    weight.copy_((rows + rows @ step_towards_float(seen)).view_as(weight))
    weight.copy_(compensated_weight(layer, seen.moments))
    if bias is not None:
        points = quantized_weight(layer).reshape(rows.shape).double()
        bias.add_(_outputs(rows, seen.float_mean) - _outputs(points, seen.mean))


@dataclass(frozen=True)
class Statistics:
    """Of a layer's inputs, for each of its groups, in float64; centred where the layer has a bias.

    Attributes:
        moments: second moments of grid points, ``groups x inputs x inputs``.
        lost: of what the grid points lack, times the grid points, same shape.
        mean: of grid points, ``groups x inputs``.
        float_mean: of the float inputs, same shape.
    """

    moments: Tensor
    lost: Tensor
    mean: Tensor
    float_mean: Tensor


def statistics(layer: QuantLayer, inputs: Tensor, noisy: Tensor) -> Statistics:
    """Of float inputs and the grid points of noisy ones."""
    quantizer = layer.input_quantizer
    points = quantizer.padded(noisy, layer.padding) if isinstance(layer, QuantConv2d) else quantizer(noisy)
    moments = lost = total = float_total = torch.zeros(())
    positions = 0
    for x, q in zip(input_columns(layer, zero_padded(layer, inputs)), input_columns(layer, points), strict=True):
        moments, lost = moments + (q @ q.transpose(1, 2)).double(), lost + ((x - q) @ q.transpose(1, 2)).double()
        total, float_total = total + q.double().sum(2), float_total + x.double().sum(2)
        positions += q.shape[2]
    mean, float_mean = total / positions, float_total / positions
    if layer.layer.bias is not None:
        moments = moments - positions * mean[:, :, None] * mean[:, None]
        lost = lost - positions * (float_mean - mean)[:, :, None] * mean[:, None]
    return Statistics(moments, lost, mean, float_mean)


def step_towards_float(seen: Statistics) -> Tensor:
    """What a weight is multiplied with to get its change, ``groups x inputs x inputs``."""
    damping = DAMPING * seen.moments.diagonal(dim1=1, dim2=2).mean(1)
    damped = seen.moments + damping[:, None, None] * torch.eye(seen.moments.shape[1]).to(seen.moments)
    change: Tensor = torch.linalg.solve(damped, seen.lost, left=False)
    return change


def _outputs(rows: Tensor, means: Tensor) -> Tensor:
    """Mean outputs of ``groups x outputs x inputs`` weights, flat."""
    return (rows @ means[..., None]).flatten()
