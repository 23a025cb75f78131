"""A frozen network with its 3x3 convolutions replaced by Triton's."""

import copy

from torch import fx, nn

from srquant.deploy.frozen.dynamic import DynamicLayer
from srquant.deploy.frozen.layers import FrozenConv2d, FrozenLinear
from srquant.deploy.frozen.matmul import FrozenMatmul
from srquant.deploy.frozen.sums import FrozenAdd, FrozenAddends
from srquant.deploy.triton.code_grid import CodeGrid, is_supported
from srquant.deploy.triton.convolution import Convolution, PackedLayer
from srquant.deploy.triton.fuse import fuse
from srquant.insertion.residual_graph import LEAVES, LayerTracer
from srquant.models.network import Network, modules_of

WHOLE = (
    *LEAVES,
    *(CodeGrid, Convolution),
    *(DynamicLayer, FrozenConv2d, FrozenLinear, FrozenMatmul, FrozenAdd, FrozenAddends),
)
"""Modules into which tracing doesn't go."""


def prepare(network: Network) -> nn.Module:
    """The network on Triton's kernels; other layers run in their exact PyTorch form.

    Networks whose steps depend on the picture can't be traced: their convolutions take and give values.

    Args:
        network: float or frozen; left unchanged. Networks without frozen 3x3 convolutions stay as they are.

    Returns:
        A module that takes and gives what the network does, on its device, bit for bit.
    """
    replaced = replace_convolutions(copy.deepcopy(network).eval())
    try:
        graph = fx.GraphModule(replaced, LayerTracer(WHOLE).trace(replaced))
    except (fx.proxy.TraceError, TypeError, RuntimeError):
        return replaced
    fuse(graph)
    return graph


def replace_convolutions(network: Network) -> Network:
    """Replace each supported convolution by a quantizer and Triton's convolution, in place."""
    for name in supported_layers(network):
        layer = network.module.get_submodule(name)
        assert isinstance(layer, FrozenConv2d)
        packed = PackedLayer(layer)
        network.module.set_submodule(name, nn.Sequential(packed.grid, Convolution(packed)))
    return network


def supported_layers(network: Network) -> list[str]:
    """Names of the convolutions that the kernels compute, in the network's order."""
    layers = modules_of(network.module, FrozenConv2d)
    return [name for name, layer in layers.items() if is_supported(layer)]
