"""What a training loop needs of a network in training; each quantization-aware method brings its own ``Student``."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from srquant.distillation.loop import Rate
from srquant.insertion.quantized_model import QuantizedModel
from srquant.models.network import Network


@dataclass(frozen=True)
class Plan:
    """How a run's steps map to the epochs of a paper's schedule, so that stages keep their share of shorter runs.

    Attributes:
        steps: of the whole run.
        epochs: of the published schedule.
    """

    steps: int
    epochs: int

    def epoch(self, step: int) -> int:
        """The epoch that step 0..steps-1 belongs to, from 0."""
        return step * self.epochs // self.steps

    def halved(self, step: int, every: int) -> float:
        """Factor of a learning rate that is halved every so many epochs."""
        return 0.5 ** (self.epoch(step) // every)


class Student(nn.Module):
    """A network in training, and how its method trains it.

    All that changes in training is in its parameters and buffers, so that ``state_dict`` resumes it. Called through
    ``forward`` only, so that wrappers for several processes see every use of the parameters.

    Args:
        network: what is trained, with the method's quantizers inserted.

    Attributes:
        find_unused_parameters: whether a parameter that learns may get no gradient in some step; several processes
            then look for such parameters in every step (``DistributedDataParallel``).
    """

    find_unused_parameters: ClassVar[bool] = True

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
        """Parameters and their learning rates at the start."""
        raise NotImplementedError

    def rate_factor(self, step: int) -> float:
        """What the learning rates are multiplied by in a step."""
        return 1.0

    def after_backward(self) -> None:
        """Change gradients that have been averaged over all processes."""

    def after_step(self, step: int) -> None:
        """Change parameters after the optimizer's step."""

    def logged(self) -> Mapping[str, float]:
        """Numbers for the training log, such as statistics of learned parameters; always the same names."""
        return {}

    def result(self) -> QuantizedModel | Network:
        """The trained network: quantized with settled bounds, or float where nothing is quantized."""
        raise NotImplementedError
