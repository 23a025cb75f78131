"""The gradient scale of learned step sizes (LSQ, Esser et al. 2020, section 2.2), for bounds."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor

from srquant.distillation.loop import Quantizer
from srquant.models.hooks import watch_inputs
from srquant.models.network import Network
from srquant.quantizers.layers import activation_quantizers, quant_layers


@contextmanager
def scaled_gradients(student: Network, images: Tensor) -> Iterator[None]:
    """Multiply gradients of all bounds by ``1 / sqrt(numel * (2**(bits-1) - 1))`` inside the ``with`` statement.

    Args:
        student: quantized.
        images: a batch of the size used in training, ``N x 3 x H x W``, which gives ``numel`` of activations.
    """
    counts = count_activations(student, images)
    counts |= {layer.weight_quantizer: layer.weight.numel() for layer in quant_layers(student).values()}
    with ExitStack() as hooks:
        for quantizer, numel in counts.items():
            scale = (numel * (2 ** (quantizer.bits - 1) - 1)) ** -0.5
            for bound in quantizer.parameters():
                hook = bound.requires_grad_(True).register_hook(lambda grad, scale=scale: grad * scale)  # type: ignore[no-untyped-call]
                hooks.enter_context(hook)
        yield


@torch.no_grad()
def count_activations(student: Network, images: Tensor) -> dict[Quantizer, int]:
    """Number of values that each activation quantizer reads in one forward pass of ``images``."""
    counts: dict[Quantizer, int] = {}
    quantizers = activation_quantizers(student)

    def count(name: str, inputs: tuple[Tensor, ...]) -> None:
        counts[quantizers[name]] = inputs[0].numel()

    with watch_inputs(quantizers, count):
        student(images)
    return counts
