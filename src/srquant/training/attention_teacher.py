"""Structured knowledge transfer (PAMS section 3.3): the float network is the teacher of the features before the tail.

The loss, ``losses.attention_loss``, is the mean squared difference of the attention maps of teacher and student; these
are computed from the input of the first layer of the tail.
"""

import copy
from contextlib import AbstractContextManager
from typing import Self

import torch
from torch import Tensor, nn

from srquant.distillation.losses import attention_loss
from srquant.models.hooks import kept_inputs
from srquant.models.network import Network


class Teacher(nn.Module):
    """A copy of a float network with fixed weights; it computes a distillation loss of students of its architecture.

    Args:
        network: float; left unchanged.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode, whatever ``mode`` is: a teacher isn't trained."""
        return super().train(False)


class AttentionTeacher(Teacher):
    """A teacher of the features that the tail reads."""

    def forward(self, student: Network, images: Tensor) -> tuple[Tensor, Tensor]:
        """The student's upscaled pictures, and its attention loss (0-d).

        Args:
            student: the network that is trained.
            images: ``N x 3 x H x W`` in [0, 1].
        """
        with torch.no_grad(), tail_inputs(self.network) as wanted:
            self.network(images)
        with tail_inputs(student) as given:
            pictures = student(images)
        return pictures, attention_loss(given, wanted)


def tail_inputs(network: Network) -> AbstractContextManager[list[Tensor]]:
    """Keep what the first layer of a network's tail reads in each forward pass, ``N x C x H x W``."""
    return kept_inputs(network.module.get_submodule(network.facts.tail[0]))
