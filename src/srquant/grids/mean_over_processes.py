"""Statistics of a batch that is spread over several processes."""

import torch.distributed as dist
from torch import Tensor


def mean_over_processes(value: Tensor) -> Tensor:
    """The mean of a tensor over all processes of a training run, without gradient; with one process, itself."""
    value = value.detach()
    if not (dist.is_available() and dist.is_initialized()):
        return value
    total = value.clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()
