"""Run a quantized network and its float network side by side, layer by layer."""

import copy
from collections.abc import Callable
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from srquant.models.network import Network
from srquant.quantizers.layers import QuantLayer, quant_modules

Visit = Callable[[QuantLayer, Tensor, Tensor], None]
"""Called with a layer, its input in the float network and its input in the quantized one; may change the layer."""


def run_side_by_side(student: Network, images: Tensor, visit: Visit) -> None:
    """Call ``visit`` for every quantized layer, in the order of execution and each once, before the layer computes.

    The network runs once on two copies of the batch. In the first half, every quantized module is replaced by its float
    module. So a change made by ``visit`` affects the inputs of later layers in the second half only.

    Args:
        student: with the weights of the float network.
        images: ``N x 3 x H x W`` in [0, 1].
        visit: gets both halves of a layer's input.
    """
    with ExitStack() as undo:
        for module in quant_modules(student).values():
            original = copy.deepcopy(module.float_module())
            module.forward = _in_halves(module, original, visit)
            undo.callback(delattr, module, "forward")
        student.eval()(torch.cat([images, images]))


def _in_halves(module: nn.Module, original: nn.Module, visit: Visit) -> Callable[..., Tensor]:
    """A forward function that computes the first half of the batch with ``original``, the second with ``module``."""
    quantized: Callable[..., Tensor] = module.forward
    visited: list[QuantLayer] = []

    def forward(*inputs: Tensor) -> Tensor:
        floats, others = zip(*(x.chunk(2) for x in inputs), strict=True)
        if isinstance(module, QuantLayer) and not visited:
            visited.append(module)
            visit(module, floats[0], others[0])
        return torch.cat([original(*floats), quantized(*others)])

    return forward
