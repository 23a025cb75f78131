"""What a method quantizes unless told otherwise."""

from typing import Any

from srquant.methods import Method
from srquant.methods.trained import TrainedMethod
from srquant.models.layers import Matmul
from srquant.models.network import Network
from srquant.quant.policy import Kind

WITHOUT_ATTENTION: tuple[Kind, ...] = ("conv", "linear")


def default_kinds(method: Method[Any] | TrainedMethod[Any], network: Network) -> tuple[Kind, ...]:
    """Convolutions and linear layers; in networks with attention what the method's paper quantizes there."""
    attention = any(isinstance(module, Matmul) for module in network.module.modules())
    return method.attention if attention else WITHOUT_ATTENTION
