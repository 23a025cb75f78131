"""Top-1 accuracy."""

import torch
from torch import Tensor, nn


@torch.no_grad()
def top1(network: nn.Module, images: Tensor, labels: Tensor, batch: int = 100) -> float:
    """Percentage of images whose largest logit is that of the right class.

    Args:
        network: maps ``N x 3 x H x W`` to logits ``N x classes``; in evaluation mode.
        images: normalised as the network expects them.
        labels: class numbers, ``N``.
        batch: number of images that are computed at once.
    """
    pairs = zip(torch.split(images, batch), torch.split(labels, batch), strict=True)
    right = sum(int((network(x).argmax(1) == y).sum()) for x, y in pairs)
    return 100 * right / len(images)
