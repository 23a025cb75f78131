"""The statistics that the supplement of QuantSR plots.

Mean, deviation and range of ``alpha`` and ``tau`` (Fig. 1, 2), and how ``phi`` changes the weights' gradients (Fig. 3).
"""

import torch
from torch import Tensor

from srquant.methods.quantsr.redistribution import phi_slope
from srquant.methods.quantsr.rlq_layers import RLQLayer
from srquant.models.network import Network, modules_of

MOMENTS = ("mean", "std", "min", "max")


def rlq_layers(network: Network) -> dict[str, RLQLayer]:
    """The layers in training by name, in module order."""
    return modules_of(network.module, RLQLayer)


def parameter_statistics(network: Network) -> dict[str, float]:
    """Mean, deviation and range of ``alpha`` over layers, and of ``tau`` over the channels of all layers.

    Returns:
        ``weight_step``, ``activation_step`` and ``shift``, each with ``_mean``, ``_std``, ``_min`` and ``_max``, in
        units of the network.
    """
    layers = rlq_layers(network).values()
    taus = [layer.input_quantizer.tau for layer in layers]
    values = {
        "weight_step": [layer.weight_quantizer.alpha.detach().flatten() for layer in layers],
        "activation_step": [layer.input_quantizer.alpha.detach().flatten() for layer in layers],
        "shift": [tau.detach().flatten() for tau in taus if tau is not None],
    }
    return {
        f"{name}_{what}": value
        for name, tensors in values.items()
        for what, value in zip(MOMENTS, _moments(torch.cat(tensors)), strict=True)
    }


def gradient_pairs(network: Network) -> dict[str, tuple[Tensor, Tensor]]:
    """``g`` and ``g'`` of each layer's weight after a backward pass, by name: with ``phi`` and straight-through.

    Layers without a gradient are left out.
    """
    return {
        name: (gradient, gradient / phi_slope(layer.layer.weight / quantizer.alpha, quantizer.k))
        for name, layer in rlq_layers(network).items()
        if (gradient := layer.layer.weight.grad) is not None
        for quantizer in (layer.weight_quantizer,)
    }


def gradient_change(network: Network) -> Tensor:
    """``|g - g'| / |g'|`` over all weights, 0-d: ``g`` their gradients, ``g'`` those with straight-through rounding."""
    change, straight = torch.zeros(()), torch.zeros(())
    for gradient, without in gradient_pairs(network).values():
        change = change + (gradient - without).square().sum()
        straight = straight + without.square().sum()
    return (change / straight.clamp(min=torch.finfo(torch.float32).tiny)).sqrt()


def _moments(values: Tensor) -> tuple[float, ...]:
    """``MOMENTS`` of the values."""
    return float(values.mean()), float(values.std(correction=0)), float(values.min()), float(values.max())
