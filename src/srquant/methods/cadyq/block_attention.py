"""Attention losses of CADyQ and CABM: of the feature before the tail, and of each residual block.

The feature of a block is the output of its last layer, before the sum.
"""

from contextlib import AbstractContextManager

import torch
from torch import Tensor

from srquant.distillation.losses import attention_loss
from srquant.insertion.plan import quantizable_layers
from srquant.models.hooks import kept_outputs
from srquant.models.network import Network
from srquant.training.attention_teacher import Teacher, tail_inputs


class BlockAttentionTeacher(Teacher):
    """A teacher of the feature before the tail and of all blocks; arguments as ``Teacher``."""

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self.layers = last_layers(network)

    def forward(self, student: Network, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The student's pictures, the attention loss before the tail, and the sum of the blocks' attention losses.

        Args:
            student: in training.
            images: ``N x 3 x H x W`` in [0, 1].
        """
        with torch.no_grad(), tail_inputs(self.network) as wanted, self.block_outputs(self.network) as wanted_blocks:
            self.network(images)
        with tail_inputs(student) as given, self.block_outputs(student) as given_blocks:
            pictures = student(images)
        blocks = [attention_loss([s], [t]) for s, t in zip(given_blocks, wanted_blocks, strict=True)]
        total = torch.stack(blocks).sum() if blocks else pictures.new_zeros(())
        return pictures, attention_loss(given, wanted), total

    def block_outputs(self, network: Network) -> AbstractContextManager[list[Tensor]]:
        """Keep the outputs of the blocks' last layers, in the order of the calls."""
        return kept_outputs(*map(network.module.get_submodule, self.layers))


def last_layers(network: Network) -> list[str]:
    """Names of the last convolution or linear layer of each residual block in ``network.facts.features``."""
    layers = quantizable_layers(network)
    inside = ([name for name in layers if name.startswith(f"{block}.")] for block in network.facts.features)
    return [names[-1] for names in inside if names]
