"""Memory order of tensors, and pieces of them that fit into a processor's cache."""

from collections.abc import Iterable

import torch
from torch import Tensor

PIECE = 2**17
"""Number of values that fit into the cache of a core together with a few intermediate results."""


def pieces(*tensors: Tensor, alike: bool = True) -> Iterable[tuple[Tensor, ...]]:
    """Pieces of tensors of one shape, small enough to stay in a processor's cache from one operation to the next.

    On other devices than the CPU there is one piece: there, many small operations take longer than a large one.

    Args:
        tensors: any shape; tensors with the memory order of the first are cut into views, others are copied.
        alike: whether all values are treated the same way; if not, there is one piece, of whole tensors.

    Returns:
        For each piece one tensor from each of ``tensors``: a vector, or the whole tensor where not ``alike``.
    """
    if not alike:
        return [tensors]
    if is_channels_last(tensors[0]):
        tensors = tuple(tensor.permute(0, 2, 3, 1) for tensor in tensors)
    return zip(*(torch.split(tensor.reshape(-1), piece_size(tensors[0])) for tensor in tensors), strict=True)


def piece_size(tensor: Tensor) -> int:
    """Most values of a piece: all of the tensor's on other devices than the CPU, where each core has its own cache."""
    return PIECE * torch.get_num_threads() if tensor.device.type == "cpu" else max(1, tensor.numel())


def empty_like(x: Tensor) -> Tensor:
    """An uninitialised tensor of the shape of ``x``, channels last where ``x`` is, else contiguous."""
    layout = torch.channels_last if is_channels_last(x) else torch.contiguous_format
    return torch.empty_like(x, memory_format=layout)


def is_channels_last(tensor: Tensor) -> bool:
    """Whether a tensor is ``N x C x H x W`` with the channels of a pixel side by side in memory."""
    return tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
