"""What a method quantizes unless told otherwise."""

from typing import Any

from srquant.insertion.policy import Kind
from srquant.methods.registry import Method
from srquant.methods.trained_registry import TrainedMethod
from srquant.models.blocks.layers import Matmul
from srquant.models.network import Network

WITHOUT_ATTENTION: tuple[Kind, ...] = ("conv", "linear")


def default_kinds(method: Method[Any] | TrainedMethod[Any], network: Network) -> tuple[Kind, ...]:
    """Convolutions and linear layers; in networks with attention what the method's paper quantizes there."""
    attention = any(isinstance(module, Matmul) for module in network.module.modules())
    return method.attention if attention else WITHOUT_ATTENTION
