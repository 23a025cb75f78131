"""Insert quantizers into a folded ResNet-18; all are switched off at first."""

import copy

import torch
from torch import Tensor, nn

from srquant.classify.layers import QuantReLU, RoundedLayer, StepQuantizer
from srquant.classify.resnet import ResNet18
from srquant.models.hooks import watch_outputs

FIRST_AND_LAST_BITS = 8
"""Bits of the weights of both layers, of the first one's output and the last one's input (BRECQ, QDrop)."""

STEM, CLASSIFIER = "conv1", "fc"
EIGHT_BIT_RELUS = ("relu", "layer4.1.relu2")
"""The ReLU after the first and the one before the last layer."""


def insert_quantizers(network: ResNet18, weight_bits: int, activation_bits: tuple[int, ...]) -> ResNet18:
    """A copy whose layers and ReLUs can be quantized.

    Args:
        network: without batch norms, as from ``folded``.
        weight_bits: of the layers between the first and the last.
        activation_bits: of the outputs of the ReLUs between the first and the last, one number per group.
    """
    student = copy.deepcopy(network)
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            bits = FIRST_AND_LAST_BITS if name in (STEM, CLASSIFIER) else weight_bits
            replace(student, name, RoundedLayer(copy.deepcopy(layer), bits))
        elif isinstance(layer, nn.ReLU):
            replace(student, name, QuantReLU((FIRST_AND_LAST_BITS,) if name in EIGHT_BIT_RELUS else activation_bits))
    return student.eval().requires_grad_(False).to(network.fc.weight.device)


def replace(network: nn.Module, name: str, module: nn.Module) -> None:
    """Replace the submodule called ``name``."""
    parent, _, attribute = name.rpartition(".")
    setattr(network.get_submodule(parent), attribute, module)


@torch.no_grad()
def initialise_steps(network: ResNet18, images: Tensor) -> None:
    """Search the steps of all ReLUs on their outputs for ``images``; quantization of activations must be off."""
    relus = {name: module for name, module in network.named_modules() if isinstance(module, QuantReLU)}

    def search(name: str, _: tuple[Tensor, ...], output: Tensor) -> None:
        for quantizer in relus[name].modules():
            if isinstance(quantizer, StepQuantizer):
                quantizer.initialise(output)

    with watch_outputs(relus, search):
        network(images)
