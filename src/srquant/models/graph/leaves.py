"""Layers stay whole while a network is traced: each calls an operator that only knows its name and the result's shape.

The operators can't compute. After the trace, calls of the layers take their place.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.library import custom_op
from torch.nn import functional as F

from srquant.models.blocks.conv_geometry import ConvGeometry, geometry_of
from srquant.models.blocks.layers import Add, MatrixProduct

NAMESPACE = "srquant_layers"


def _never(*arguments: Any) -> Tensor:
    raise NotImplementedError("a layer's place in a trace can't compute")


@custom_op("srquant_layers::conv", mutates_args=())
def conv(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    outputs: int,
    name: str,
) -> Tensor:
    """A convolution: ``N x C x H x W`` to ``N x outputs x H' x W'``."""
    return _never()


@custom_op("srquant_layers::linear", mutates_args=())
def linear(x: Tensor, outputs: int, name: str) -> Tensor:
    """A linear layer: ``... x in`` to ``... x outputs``."""
    return _never()


@custom_op("srquant_layers::product", mutates_args=())
def product(a: Tensor, b: Tensor, name: str) -> Tensor:
    """A matrix product over the last two axes."""
    return _never()


@custom_op("srquant_layers::total", mutates_args=())
def total(a: Tensor, b: Tensor, name: str) -> Tensor:
    """A sum of two tensors."""
    return _never()


@conv.register_fake
def _conv_shape(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    outputs: int,
    name: str,
) -> Tensor:
    one_channel = F.conv2d(x[:, :1], x.new_empty(1, 1, *kernel), None, stride, padding, dilation)
    return x.new_empty(x.shape[0], outputs, *one_channel.shape[2:])


@linear.register_fake
def _linear_shape(x: Tensor, outputs: int, name: str) -> Tensor:
    return x.new_empty(*x.shape[:-1], outputs)


@product.register_fake
def _product_shape(a: Tensor, b: Tensor, name: str) -> Tensor:
    return a @ b


@total.register_fake
def _total_shape(a: Tensor, b: Tensor, name: str) -> Tensor:
    return a + b


class Leaf(nn.Module):
    """Stands for a layer in a trace. Code that reads ``weight`` and ``bias`` of a float layer finds them.

    Args:
        operator: one of this file's.
        arguments: of the operator, after the tensors.
    """

    def __init__(self, operator: Any, *arguments: Any) -> None:
        super().__init__()
        self.operator, self.arguments = operator, arguments
        self.weight: Tensor | None = None
        self.bias: Tensor | None = None

    def forward(self, *values: Tensor) -> Tensor:
        """The values that the layer takes, to an empty result."""
        result: Tensor = self.operator(*values, *self.arguments)
        return result


Leaves = Mapping[type[nn.Module], Callable[[Any, str], Leaf | None]]
"""By the type of a layer: the function from the layer and its name to its leaf; None if it is traced like others."""


def conv_leaf(weight: Tensor, geometry: ConvGeometry, name: str) -> Leaf:
    """The leaf of a convolution with such a weight, ``C_out x C_in/groups x kH x kW``."""
    window = list(geometry.stride), list(geometry.padding), list(geometry.dilation)
    return Leaf(conv, list(weight.shape[2:]), *window, len(weight), name)


def _conv(layer: nn.Conv2d, name: str) -> Leaf | None:
    plain = layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return conv_leaf(layer.weight, geometry_of(layer), name) if plain else None


LEAVES: Leaves = {
    nn.Conv2d: _conv,
    nn.Linear: lambda layer, name: Leaf(linear, layer.out_features, name),
    Add: lambda layer, name: Leaf(total, name),
}
"""Of float networks; matrix products are leaves by their base."""


def leaf_of(module: nn.Module, name: str, leaves: Leaves) -> Leaf | None:
    """The leaf that stands for a module, or None."""
    if isinstance(module, MatrixProduct):
        return Leaf(product, name)
    make = leaves.get(type(module))
    leaf = None if make is None else make(module, name)
    if leaf is not None and isinstance(module, nn.Conv2d | nn.Linear):
        leaf.weight, leaf.bias = module.weight, module.bias
    return leaf


def is_leaf(target: Any) -> bool:
    """Whether a graph's node calls one of this file's operators."""
    return isinstance(target, torch._ops.OpOverload) and target.namespace == NAMESPACE


def has_linear(module: nn.Module) -> bool:
    """Whether a module has leaves of linear layers."""
    return any(isinstance(part, Leaf) and part.operator is linear for part in module.modules())
