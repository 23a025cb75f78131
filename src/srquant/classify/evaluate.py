"""Top-1 accuracy."""

import torch
from torch import Tensor, nn


@torch.no_grad()
def top1(network: nn.Module, images: Tensor, labels: Tensor, batch: int = 100) -> float:
    """Share of images whose largest logit is that of their class, in percent.

    Args:
        network: ``N x 3 x H x W`` to ``N x classes``, in evaluation mode.
        images: as the network takes them.
        labels: class numbers, ``N``.
        batch: images at a time.
    """
    pairs = zip(torch.split(images, batch), torch.split(labels, batch), strict=True)
    right = sum(int((network(x).argmax(1) == y).sum()) for x, y in pairs)
    return 100 * right / len(images)
