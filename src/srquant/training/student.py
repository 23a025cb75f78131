"""The interface between the training loop and a method: each quantization-aware method is a ``Student``."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from srquant.distillation.loop import Rate
from srquant.insertion.quantized_model import QuantizedModel
from srquant.models.network import Network


@dataclass(frozen=True)
class Plan:
    """Maps a run's steps to the epochs of a paper's schedule, so that each stage keeps its share of a shorter run.

    Attributes:
        steps: number of steps of the run.
        epochs: number of epochs of the published schedule.
    """

    steps: int
    epochs: int

    def epoch(self, step: int) -> int:
        """The epoch, from 0, of a step 0..steps-1."""
        return step * self.epochs // self.steps

    def halved(self, step: int, every: int) -> float:
        """Factor of a learning rate that is halved every ``every`` epochs."""
        return 0.5 ** (self.epoch(step) // every)


class Student(nn.Module):
    """A network that is trained, and how its method trains it.

    Everything that changes during training is in parameters and buffers, so that a checkpoint of ``state_dict`` is
    complete. The loop uses the parameters through ``forward`` only, as PyTorch's DDP requires.

    Args:
        network: the network that is trained, with the method's quantizers inserted.

    Attributes:
        find_unused_parameters: whether a trained parameter may get no gradient in some steps; with several processes
            PyTorch then searches for such parameters in each step (``find_unused_parameters``).
        earlier_names: of parameters and buffers in checkpoints of earlier releases: name then -> name now.
    """

    find_unused_parameters: ClassVar[bool] = True
    earlier_names: ClassVar[Mapping[str, str]] = {}

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, low: Tensor, high: Tensor, step: int) -> Tensor:
        """The loss of a batch, 0-d.

        Args:
            low: ``N x 3 x H x W`` RGB in [0, 1].
            high: ``N x 3 x sH x sW`` RGB in [0, 1].
            step: from 0.
        """
        raise NotImplementedError

    def rates(self) -> Iterable[Rate]:
        """The trained parameters and their initial learning rates."""
        raise NotImplementedError

    def rate_factor(self, step: int) -> float:
        """Factor by which all learning rates are multiplied in a step."""
        return 1.0

    def after_backward(self) -> None:
        """Change the gradients, which have been averaged over all processes."""

    def after_step(self, step: int) -> None:
        """Change the parameters after the optimizer's step."""

    def logged(self) -> Mapping[str, float]:
        """Numbers for the training log, such as statistics of learned parameters; the names must not change."""
        return {}

    def result(self) -> QuantizedModel | Network:
        """The trained network: quantized with settled bounds, or float where nothing is quantized."""
        raise NotImplementedError
