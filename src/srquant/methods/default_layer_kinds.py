"""Kinds of layers that a method quantizes by default."""

from typing import Any

from srquant.insertion.policy import LayerKind
from srquant.methods.registry import Method
from srquant.methods.trained_registry import TrainedMethod
from srquant.models.blocks.layers import Matmul
from srquant.models.network import Network

LAYERS: tuple[LayerKind, ...] = ("conv", "linear")
LAYERS_AND_PRODUCTS: tuple[LayerKind, ...] = (*LAYERS, "matmul")


def default_layer_kinds(method: Method[Any] | TrainedMethod[Any], network: Network) -> tuple[LayerKind, ...]:
    """Convolutions and linear layers; in a network with attention the kinds that the method's paper quantizes there."""
    return method.attention if has_products(network) else LAYERS


def has_products(network: Network) -> bool:
    """Whether a network multiplies two activations, as in attention."""
    return any(isinstance(module, Matmul) for module in network.module.modules())
