"""Kinds of layers that a method quantizes by default."""

from typing import Any

from srquant.insertion.policy import LayerKind
from srquant.insertion.settle_on_lattice import FEWEST_WITH_ZERO
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


def reason_for_kinds(kinds: tuple[LayerKind, ...], bits: int) -> str:
    """One line on the default kinds of a network with attention, and their speed (docs/results/attention.md).

    Args:
        kinds: from ``default_layer_kinds``.
        bits: of the products' operands.
    """
    chosen = f"attention: {', '.join(kinds)} quantized, as published"
    if "matmul" not in kinds:
        return f"{chosen}; products stay float, --layers linear,matmul is faster in OpenVINO from 4 bits on"
    if bits >= FEWEST_WITH_ZERO:
        return f"{chosen}; products of bytes take less time than float ones in OpenVINO"
    return f"{chosen}; products of {bits} bits may take longer than float ones in OpenVINO: --layers linear is faster"
