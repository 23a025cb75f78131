"""Fold batch norms into the convolutions before them."""

import torch
from torch import Tensor, nn

from srquant.errors import PolicyError
from srquant.models.layout import Weights
from srquant.models.load import build, load_strictly
from srquant.models.network import Network


def fold_batch_norms(network: Network) -> Network:
    """A network that computes the same without batch norms.

    Folding changes the ranges of the weights, which usually hurts per-tensor weight quantization.

    Args:
        network: an ``srresnet`` in which the running statistics of the norms are used.

    Returns:
        A new network in evaluation mode; equal up to float rounding. ``network`` itself if it has no batch norms.

    Raises:
        PolicyError: the architecture has batch norms that can't be folded.
    """
    layers = dict(network.module.named_modules())
    norms = {name: layer for name, layer in layers.items() if isinstance(layer, nn.BatchNorm2d)}
    if not norms:
        return network
    if "batch_norm" not in network.facts.arguments:
        raise PolicyError(f"{network.facts.architecture}: fold the batch norms before wrapping the network")
    weights = {n: t for n, t in network.module.state_dict().items() if n.rpartition(".")[0] not in norms}
    for name, norm in norms.items():
        target = folded_into(name)
        weights |= fold(target, layers[target].get_parameter("weight"), norm)
    folded = build(network.facts.architecture, network.facts.arguments | {"batch_norm": False})
    load_strictly(folded.module, weights)
    return folded


def folded_into(norm: str) -> str:
    """The convolution before ``body.{i}.bn{j}`` is ``body.{i}.conv{j}``, that before ``body.{i}`` is ``body.{i-1}``."""
    parent, _, name = norm.rpartition(".")
    return f"{parent}.{name.replace('bn', 'conv') if name.startswith('bn') else int(name) - 1}"


def fold(name: str, weight: Tensor, norm: nn.BatchNorm2d) -> Weights:
    """Weight and bias of the convolution ``name``, which had no bias, after folding ``norm`` into it."""
    if norm.running_mean is None or norm.running_var is None:
        raise PolicyError(f"the batch norm after {name} has no running statistics, so it can't be folded")
    gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    folded = {f"{name}.weight": weight * gain.view(-1, 1, 1, 1), f"{name}.bias": norm.bias - gain * norm.running_mean}
    return {key: tensor.detach() for key, tensor in folded.items()}
