"""Steps shared by methods that train weights: the start of a student, its first bounds, and its settled result."""

import copy

from torch import Tensor

from srquant.errors import PolicyError
from srquant.insertion.collect_ranges import ActivationBounds
from srquant.insertion.plan import QuantizationPlan
from srquant.insertion.policy import Policy
from srquant.insertion.quantized_model import Origin, QuantizedModel
from srquant.insertion.replace_quantizers import exchange_quantizers
from srquant.insertion.settle_on_lattice import settle
from srquant.models.network import Network
from srquant.quantizers.layers import quant_layers, quantized_weight
from srquant.training.network_parameters import network_parameters


def learns_weights(network: Network) -> Network:
    """Put the network in training mode; all its parameters learn except those of grids. Returns the network."""
    network.train().requires_grad_(False)
    for parameter in network_parameters(network):
        parameter.requires_grad_(True)
    return network


def deployable(network: Network, policy: Policy, origin: Origin) -> QuantizedModel:
    """A settled copy of a trained network, with its quantizers for deployment, see ``InputQuantizer.deployable``.

    Weights are replaced by their grid points before the grids settle, so that settling doesn't change them.

    Args:
        network: in training; left unchanged.
        policy: the network's policy.
        origin: how it was trained.
    """
    quantized = copy.deepcopy(network).eval().requires_grad_(False)
    for layer in quant_layers(quantized).values():
        deployed = layer.weight_quantizer.deployable(layer.weight)
        layer.weight.copy_(quantized_weight(layer))
        layer.weight_quantizer = deployed
    exchange_quantizers(quantized, lambda quantizer: quantizer.deployable())
    settle(quantized)
    return QuantizedModel(quantized.requires_grad_(False), policy, origin)


def constant_bounds(plan: QuantizationPlan, lower: Tensor, upper: Tensor) -> ActivationBounds:
    """The same bounds, 0-d, for every activation that the plan quantizes."""
    return dict.fromkeys(plan.activations(), (lower, upper))


def require_tensor_grids(method: str, policy: Policy) -> None:
    """Raise a ``PolicyError`` where the policy asks for activation grids per channel."""
    if policy.activation_granularity != "tensor":
        raise PolicyError(f"{method} has one activation grid per tensor: use activation_granularity 'tensor'")


def require_float_sums(method: str, policy: Policy) -> None:
    """Raise a ``PolicyError`` where the policy asks for quantized sums."""
    if policy.skip_bits is not None:
        raise PolicyError(f"{method} puts the addends of sums on grids, not the sums: use skip_bits none")
