"""Attention of every residual block beside that before the tail, as CADyQ and CABM teach it.

A block is represented by the output of its last layer, before the sum.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from srquant.distillation.losses import attention_loss
from srquant.insertion.plan import quantizable_layers
from srquant.models.network import Network
from srquant.training.attention_teacher import TailInput, Teacher


class BlockAttentionTeacher(Teacher):
    """A teacher of what the tail reads and of all blocks; arguments as ``Teacher``."""

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self.layers = last_layers(network)

    def forward(self, student: Network, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The student's pictures, the loss of its attention before the tail, and the sum of those of its blocks.

        Args:
            student: in training.
            images: ``N x 3 x H x W`` in [0, 1].
        """
        with torch.no_grad(), TailInput(self.network) as wanted, Outputs(self.network, self.layers) as wanted_blocks:
            self.network(images)
        with TailInput(student) as given, Outputs(student, self.layers) as given_blocks:
            pictures = student(images)
        blocks = [attention_loss([s], [t]) for s, t in zip(given_blocks.values, wanted_blocks.values, strict=True)]
        total = torch.stack(blocks).sum() if blocks else pictures.new_zeros(())
        return pictures, attention_loss([given.value], [wanted.value]), total


def last_layers(network: Network) -> list[str]:
    """The last convolution or linear layer of each residual block, by ``network.facts.features``."""
    layers = quantizable_layers(network)
    inside = ([name for name in layers if name.startswith(f"{block}.")] for block in network.facts.features)
    return [names[-1] for names in inside if names]


class Outputs:
    """Keeps what layers computed; a context manager around one forward pass.

    Attributes:
        values: in the order of the calls.
    """

    def __init__(self, network: Network, names: Sequence[str]) -> None:
        self.layers = [network.module.get_submodule(name) for name in names]
        self.values: list[Tensor] = []

    def __enter__(self) -> "Outputs":
        self.handles = [layer.register_forward_hook(self._keep) for layer in self.layers]
        return self

    def __exit__(self, *_: Any) -> None:
        for handle in self.handles:
            handle.remove()

    def _keep(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self.values.append(output)
