"""Fold batch norms into the convolutions before them."""

import torch
from torch import Tensor, nn

from srquant.errors import PolicyError
from srquant.models.layout import Weights


def folded_into(norm: str) -> str:
    """The convolution before ``body.{i}.bn{j}`` is ``body.{i}.conv{j}``, that before ``body.{i}`` is ``body.{i-1}``."""
    parent, _, name = norm.rpartition(".")
    return f"{parent}.{name.replace('bn', 'conv') if name.startswith('bn') else int(name) - 1}"


def fold(name: str, weight: Tensor, norm: nn.BatchNorm2d) -> Weights:
    """Weight and bias of the bias-free convolution ``name`` with the norm inside."""
    if norm.running_mean is None or norm.running_var is None:
        raise PolicyError(f"the batch norm after {name} has no running statistics, so it can't be folded")
    gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    folded = {f"{name}.weight": weight * gain.view(-1, 1, 1, 1), f"{name}.bias": norm.bias - gain * norm.running_mean}
    return {key: tensor.detach() for key, tensor in folded.items()}
