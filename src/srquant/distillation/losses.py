"""Distillation losses between a teacher (float) and a student (quantized) network."""

from typing import Any

import torch
from torch import Tensor

from srquant.grids.pieces import is_channels_last, pieces

SMALLEST_NORM = 1e-12


def normalised(feature: Tensor) -> Tensor:
    """Each sample divided by its L2 norm over all other axes."""
    norm = feature.flatten(1).square().sum(1).sqrt().clamp(min=SMALLEST_NORM)
    return feature / norm.view(-1, *[1] * (feature.dim() - 1))


def squared_distance(feature: Tensor, target: Tensor) -> Tensor:
    """Squared L2 distance of ``normalised(feature)`` from ``target`` per sample, ``N``; no gradient in the target."""
    result: Tensor = _SquaredDistance.apply(feature, target)  # type: ignore[no-untyped-call]
    return result


def feature_loss(student: list[Tensor], teacher: list[Tensor]) -> Tensor:
    """Mean over modules and samples of the squared L2 distance of normalised features.

    The normalised feature loss of GBA and 2DQuant, per sample and with gradient (the released 2DQuant code divides it
    by the number of elements once too often, which makes it negligible).

    Args:
        student: features, ``N x ...`` each.
        teacher: features that are normalised already, same shapes.
    """
    distances = [squared_distance(s, t).mean() for s, t in zip(student, teacher, strict=True)]
    total = distances[0]
    for distance in distances[1:]:
        total = total + distance
    return total / len(distances)


def feature_distance(student: list[Tensor], teacher: list[Tensor]) -> Tensor:
    """Mean over modules and samples of the L2 distance of normalised features (AdaBM Eq. 10); not squared.

    Args:
        student: features, ``N x ...`` each.
        teacher: features that are normalised already, same shapes.
    """
    squares = [squared_distance(s, t) for s, t in zip(student, teacher, strict=True)]
    return torch.stack(squares).clamp(min=1e-12).sqrt().mean()


def attention_loss(student: list[Tensor], teacher: list[Tensor]) -> Tensor:
    """Mean over modules and samples of the mean squared distance of spatial attention maps (PTQ4SR, section 3.3).

    Args:
        student: features, ``N x C x H x W`` each.
        teacher: the same shapes; a factor per sample makes no difference.
    """
    pairs = [(attention_map(s) - attention_map(t)).square().mean() for s, t in zip(student, teacher, strict=True)]
    return torch.stack(pairs).mean()


def attention_map(feature: Tensor) -> Tensor:
    """Mean square over channels, divided by its L2 norm: ``N x C x H x W`` to ``N x H x W``."""
    return normalised(feature.square().mean(1))


WHITE = 255.0
"""White in grey levels: published losses are in grey levels, ours on pictures in [0, 1]."""


def output_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean absolute difference of pictures in [0, 1]."""
    return (student - teacher).abs().mean()


def root_mean_square(student: Tensor, teacher: Tensor) -> Tensor:
    """Root of the mean squared difference of pictures in [0, 1], at least ``SMALLEST_NORM``."""
    return (student - teacher).square().mean().clamp(min=SMALLEST_NORM**2).sqrt()


class _SquaredDistance(torch.autograd.Function):
    """Gradient in the feature ``s`` with direction ``d = s / |s|`` and target ``t``: ``2 (d <d, t> - t) / |s|``."""

    @staticmethod
    def forward(ctx: Any, feature: Tensor, target: Tensor) -> Tensor:
        ctx.channels_last = is_channels_last(feature)
        feature, target = (_in_order(tensor, ctx.channels_last) for tensor in (feature, target))
        norms = [float(torch.linalg.vector_norm(sample).clamp(min=SMALLEST_NORM)) for sample in feature]
        ctx.save_for_backward(feature, target)
        ctx.norms = norms
        distances = [
            torch.stack([_square(torch.sub(t, s, alpha=1 / norm)) for s, t in pieces(*pair)]).sum()
            for *pair, norm in zip(feature, target, norms, strict=True)
        ]
        return torch.stack(distances)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        feature, target = ctx.saved_tensors
        result = torch.empty_like(feature)
        for s, t, out, norm, factor in zip(feature, target, result, ctx.norms, grad.tolist(), strict=True):
            along = float(torch.dot(s.view(-1), t.view(-1))) / norm
            for feature_piece, target_piece, piece in pieces(s, t, out):
                torch.mul(target_piece, -2 * factor / norm, out=piece).add_(
                    feature_piece, alpha=2 * factor * along / norm**2
                )
        return result.permute(0, 3, 1, 2) if ctx.channels_last else result, None


def _square(values: Tensor) -> Tensor:
    return torch.dot(values, values)


def _in_order(tensor: Tensor, channels_last: bool) -> Tensor:
    """The same values, contiguous; ``N x H x W x C`` if ``channels_last``."""
    return (tensor.permute(0, 2, 3, 1) if channels_last else tensor).contiguous()
