"""What the supplement of QuantSR plots: statistics of learned parameters (Fig. 1, 2), effect on gradients (Fig. 3)."""

import torch
from torch import Tensor

from srquant.methods.quantsr.learned_layers import LearnedLayer
from srquant.methods.quantsr.redistribution import redistribution_slope
from srquant.models.network import Network


def learned_layers(network: Network) -> list[LearnedLayer]:
    """The layers in training, in module order."""
    return [module for module in network.module.modules() if isinstance(module, LearnedLayer)]


def parameter_statistics(network: Network) -> dict[str, float]:
    """Mean and standard deviation of steps over layers, and of shifts over the channels of all layers.

    Returns:
        ``weight_step``, ``activation_step`` and ``shift``, each with ``_mean`` and ``_std``, in units of the network.
    """
    layers = learned_layers(network)
    shifts = [layer.input_quantizer.shift for layer in layers]
    values = {
        "weight_step": [layer.weight_quantizer.step.detach().flatten() for layer in layers],
        "activation_step": [layer.input_quantizer.step.detach().flatten() for layer in layers],
        "shift": [shift.detach().flatten() for shift in shifts if shift is not None],
    }
    return {
        f"{name}_{what}": value
        for name, tensors in values.items()
        for what, value in zip(("mean", "std"), _moments(torch.cat(tensors)), strict=True)
    }


def gradient_change(network: Network) -> Tensor:
    """``|g - g'| / |g'|`` over all weights, 0-d: ``g`` their gradients, ``g'`` those with straight-through rounding."""
    change, straight = torch.zeros(()), torch.zeros(())
    for layer in learned_layers(network):
        gradient, quantizer = layer.layer.weight.grad, layer.weight_quantizer
        if gradient is not None:
            without = gradient / redistribution_slope(layer.layer.weight / quantizer.step, quantizer.k)
            change = change + (gradient - without).square().sum()
            straight = straight + without.square().sum()
    return (change / straight.clamp(min=torch.finfo(torch.float32).tiny)).sqrt()


def _moments(values: Tensor) -> tuple[float, float]:
    return float(values.mean()), float(values.std(correction=0))
