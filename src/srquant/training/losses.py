"""Distillation losses between a teacher (float) and a student (quantized) network."""

import torch
from torch import Tensor


def normalised(feature: Tensor) -> Tensor:
    """Each sample divided by its L2 norm over all other axes."""
    norm = feature.flatten(1).square().sum(1).sqrt().clamp(min=1e-12)
    return feature / norm.view(-1, *[1] * (feature.dim() - 1))


def feature_loss(student: list[Tensor], teacher: list[Tensor]) -> Tensor:
    """Mean over modules and samples of the squared L2 distance of normalised features.

    The normalised feature loss of GBA and 2DQuant, per sample and with gradient (the released 2DQuant code divides it
    by the number of elements once too often, which makes it vanish).

    Args:
        student: features, ``N x ...`` each.
        teacher: features that are normalised already, same shapes.
    """
    distances = [(normalised(s) - t).square().flatten(1).sum(1).mean() for s, t in zip(student, teacher, strict=True)]
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
    squares = [(normalised(s) - t).square().flatten(1).sum(1) for s, t in zip(student, teacher, strict=True)]
    return torch.stack(squares).clamp(min=1e-12).sqrt().mean()


def attention_loss(student: list[Tensor], teacher: list[Tensor]) -> Tensor:
    """Mean over modules and samples of the mean squared distance of spatial attention maps (PTQ4SR, section 3.3).

    Args:
        student: features, ``N x C x H x W`` each.
        teacher: the same up to a factor per sample.
    """
    pairs = [(attention_map(s) - attention_map(t)).square().mean() for s, t in zip(student, teacher, strict=True)]
    return torch.stack(pairs).mean()


def attention_map(feature: Tensor) -> Tensor:
    """Mean square over channels, divided by its L2 norm: ``N x C x H x W`` to ``N x H x W``."""
    return normalised(feature.square().mean(1))


def output_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean absolute difference of pictures in [0, 1]."""
    return (student - teacher).abs().mean()
