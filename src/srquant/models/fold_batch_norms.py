"""Fold batch norms into the convolutions before them."""

import torch
from torch import Tensor, nn

from srquant.errors import PolicyError
from srquant.models.layout import Weights

EPS = 1e-5
"""What PyTorch adds to variances by default."""


def folded_into(norm: str) -> str:
    """The convolution before ``body.{i}.bn{j}`` is ``body.{i}.conv{j}``, that before ``body.{i}`` is ``body.{i-1}``."""
    parent, _, name = norm.rpartition(".")
    return f"{parent}.{name.replace('bn', 'conv') if name.startswith('bn') else int(name) - 1}"


def fold(name: str, weight: Tensor, norm: nn.BatchNorm2d) -> Weights:
    """Weight and bias of the bias-free convolution ``name`` with the norm inside."""
    if norm.running_mean is None or norm.running_var is None:
        raise PolicyError(f"the batch norm after {name} has no running statistics, so it can't be folded")
    folded = _folded(name, {f"{name}.weight": weight}, norm.state_dict(), norm.eps)
    return {key: tensor.detach() for key, tensor in folded.items()}


def without_batch_norms(weights: Weights) -> Weights:
    """Weights of a checkpoint in which every batch norm is folded into the convolution before it.

    Args:
        weights: by name; convolutions with or without bias. The norms have PyTorch's default ``eps``.
    """
    norms = [name.removesuffix(".running_var") for name in weights if name.endswith(".running_var")]
    kept = {name: tensor for name, tensor in weights.items() if name.rpartition(".")[0] not in norms}
    for norm in norms:
        parts = {part: weights[f"{norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")}
        kept |= _folded(folded_into(norm), weights, parts, EPS)
    return kept


def _folded(conv: str, weights: Weights, norm: Weights, eps: float) -> Weights:
    """Weight and bias of the convolution ``conv`` with a norm inside, whose parts are named as in its state."""
    weight, bias = weights[f"{conv}.weight"], weights.get(f"{conv}.bias", torch.zeros(()))
    gain = norm["weight"] / torch.sqrt(norm["running_var"] + eps)
    return {
        f"{conv}.weight": weight * gain.view(-1, 1, 1, 1),
        f"{conv}.bias": norm["bias"] + gain * (bias - norm["running_mean"]),
    }
