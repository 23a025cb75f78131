"""Run a quantized network and the float one that it was made from at once, in step."""

import copy
from collections.abc import Callable
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from srquant.models.network import Network
from srquant.quantizers.layers import QuantLayer, quant_modules

Visit = Callable[[QuantLayer, Tensor, Tensor], None]
"""Sees a layer, what enters it in the float network and what enters it in the quantized one; may change the layer."""


def run_side_by_side(student: Network, images: Tensor, visit: Visit) -> None:
    """Call ``visit`` for every quantized layer, in the order of execution and each once, before the layer computes.

    The batch goes through twice at once; the first half takes the float way through all that is quantized. So what a
    visit changes is seen by all later layers in the quantized half, and by none in the float one.

    Args:
        student: with the weights of the float network.
        images: ``N x 3 x H x W`` in [0, 1].
        visit: gets the halves.
    """
    with ExitStack() as undo:
        for module in quant_modules(student).values():
            original = copy.deepcopy(module.float_module())
            module.forward = _in_halves(module, original, visit)
            undo.callback(delattr, module, "forward")
        student.eval()(torch.cat([images, images]))


def _in_halves(module: nn.Module, original: nn.Module, visit: Visit) -> Callable[..., Tensor]:
    """A forward function for both halves of the batch."""
    quantized: Callable[..., Tensor] = module.forward
    visited: list[QuantLayer] = []

    def forward(*inputs: Tensor) -> Tensor:
        floats, noisy = zip(*(x.chunk(2) for x in inputs), strict=True)
        if isinstance(module, QuantLayer) and not visited:
            visited.append(module)
            visit(module, floats[0], noisy[0])
        return torch.cat([original(*floats), quantized(*noisy)])

    return forward
