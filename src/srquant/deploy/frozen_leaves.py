"""Which modules of a frozen network stay whole while it is traced."""

from torch import Tensor, nn

from srquant.deploy.frozen.dynamic import DynamicLayer
from srquant.deploy.frozen.layers import FrozenConv2d, FrozenLinear
from srquant.deploy.frozen.sums import FrozenAdd, FrozenAddends
from srquant.models.blocks.conv_geometry import ConvGeometry
from srquant.models.graph.leaves import LEAVES, Leaf, Leaves, conv_leaf, linear, total


def _conv(layer: FrozenConv2d, name: str) -> Leaf:
    """Where channels are scaled, that step adds the padding."""
    padding = getattr(layer.before, "padding", (0, 0))
    both = (layer.padding[0] + padding[0], layer.padding[1] + padding[1])
    return conv_leaf(layer.weight, ConvGeometry(layer.stride, both, layer.dilation, layer.groups), name)


def _dynamic(layer: DynamicLayer, name: str) -> Leaf:
    if layer.geometry is None:
        return Leaf(linear, len(layer.weight), name)
    return conv_leaf(layer.weight, layer.geometry, name)


def _sum(layer: nn.Module, name: str) -> Leaf:
    return Leaf(total, name)


def _linear(layer: FrozenLinear, name: str) -> Leaf:
    weight: Tensor = layer.weight
    return Leaf(linear, len(weight), name)


FROZEN_LEAVES: Leaves = {
    **LEAVES,
    FrozenConv2d: _conv,
    FrozenLinear: _linear,
    DynamicLayer: _dynamic,
    FrozenAdd: _sum,
    FrozenAddends: _sum,
}
"""Those of float networks, and frozen layers and sums."""
