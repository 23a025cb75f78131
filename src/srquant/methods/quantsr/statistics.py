"""The statistics that the supplement of QuantSR plots.

Mean and deviation of ``alpha`` and ``tau`` (Fig. 1, 2), and how much ``phi`` changes the weights' gradients (Fig. 3).
"""

import torch
from torch import Tensor

from srquant.methods.quantsr.redistribution import phi_slope
from srquant.methods.quantsr.rlq_layers import RLQLayer
from srquant.models.network import Network, modules_of


def rlq_layers(network: Network) -> list[RLQLayer]:
    """The layers in training, in module order."""
    return list(modules_of(network.module, RLQLayer).values())


def parameter_statistics(network: Network) -> dict[str, float]:
    """Mean and standard deviation of ``alpha`` over layers, and of ``tau`` over the channels of all layers.

    Returns:
        ``weight_step``, ``activation_step`` and ``shift``, each with ``_mean`` and ``_std``, in units of the network.
    """
    layers = rlq_layers(network)
    taus = [layer.input_quantizer.tau for layer in layers]
    values = {
        "weight_step": [layer.weight_quantizer.alpha.detach().flatten() for layer in layers],
        "activation_step": [layer.input_quantizer.alpha.detach().flatten() for layer in layers],
        "shift": [tau.detach().flatten() for tau in taus if tau is not None],
    }
    return {
        f"{name}_{what}": value
        for name, tensors in values.items()
        for what, value in zip(("mean", "std"), _moments(torch.cat(tensors)), strict=True)
    }


def gradient_change(network: Network) -> Tensor:
    """``|g - g'| / |g'|`` over all weights, 0-d: ``g`` their gradients, ``g'`` those with straight-through rounding."""
    change, straight = torch.zeros(()), torch.zeros(())
    for layer in rlq_layers(network):
        gradient, quantizer = layer.layer.weight.grad, layer.weight_quantizer
        if gradient is not None:
            without = gradient / phi_slope(layer.layer.weight / quantizer.alpha, quantizer.k)
            change = change + (gradient - without).square().sum()
            straight = straight + without.square().sum()
    return (change / straight.clamp(min=torch.finfo(torch.float32).tiny)).sqrt()


def _moments(values: Tensor) -> tuple[float, float]:
    return float(values.mean()), float(values.std(correction=0))
