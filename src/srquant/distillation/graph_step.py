"""One step of learning as a CUDA graph.

A step of a small network is thousands of small kernels, and starting them takes the CPU several times as long as the
GPU needs to run them. A graph records them once and starts them together.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from srquant.devices import tf32_gradients
from srquant.distillation.lessons import Lesson
from srquant.distillation.loop import Loss, finite, loss_of, step
from srquant.models.network import Network, device_of

WARM_UPS = 3
"""Steps before the recording, in which PyTorch chooses kernels and makes the optimizer's state."""

Step = Callable[[Lesson], float]
"""Learns one lesson and gives the loss."""


def recordable(student: Network) -> bool:
    """Whether steps of a network can be recorded."""
    return device_of(student).type == "cuda"


def stepper(
    student: Network,
    optimizer: torch.optim.Optimizer,
    loss: Loss,
    after_step: Callable[[], None],
    recorded: bool,
) -> Step:
    """A step of learning.

    Args:
        student: quantized, not settled.
        optimizer: of some of the student's parameters, from ``loop.adam``; capturable where ``recorded``.
        loss: what is minimised.
        after_step: called after each step, such as ``Guards``; it never waits for the device.
        recorded: whether to record it; only where ``recordable``.
    """
    if recorded:
        return GraphStep(student, optimizer, loss, after_step)

    def plain(lesson: Lesson) -> float:
        value = step(student, lesson, optimizer, loss)
        after_step()
        return value

    return plain


class GraphStep:
    """A recorded step; the first steps, and lessons of another shape, run without the recording.

    So do all steps of a network that reads results on the CPU, which can't be recorded.

    Args:
        student: on a CUDA device; its parameters and those of the optimizer's state keep their memory.
        optimizer: as ``stepper``.
        loss: as ``stepper``.
        after_step: as ``stepper``.
    """

    def __init__(
        self, student: Network, optimizer: torch.optim.Optimizer, loss: Loss, after_step: Callable[[], None]
    ) -> None:
        self.student, self.optimizer, self.loss, self.after_step = student, optimizer, loss, after_step
        self.done = 0
        self.graph: torch.cuda.CUDAGraph | None = None
        self.refused = False
        self.lesson: Lesson
        self.value: Tensor

    def __call__(self, lesson: Lesson) -> float:
        """Learn one lesson; gives the loss.

        Raises:
            PolicyError: the loss is not finite.
        """
        self.done += 1
        if self.graph is None and self.done > WARM_UPS and not self.refused:
            self.try_to_record(lesson)
        if self.graph is None or lesson.images.shape != self.lesson.images.shape:
            return self.without_recording(lesson)
        for kept, new in zip(tensors_of(self.lesson), tensors_of(lesson), strict=True):
            kept.copy_(new)
        self.graph.replay()
        return finite(self.value)

    def without_recording(self, lesson: Lesson) -> float:
        """Learn one lesson on a stream of its own, as recordings need it."""
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            value = step(self.student, lesson, self.optimizer, self.loss)
            self.after_step()
        torch.cuda.current_stream().wait_stream(stream)
        return value

    def try_to_record(self, lesson: Lesson) -> None:
        """Make the recording, or note that there can't be one."""
        try:
            self.graph = self.record(lesson)
        except RuntimeError:
            self.refused = True
            self.optimizer.zero_grad(set_to_none=True)

    def record(self, lesson: Lesson) -> torch.cuda.CUDAGraph:
        """Record a step for lessons of this shape; nothing is learned."""
        features = [feature.clone() for feature in lesson.features]
        self.lesson = Lesson(lesson.images.clone(), lesson.output.clone(), features)
        self.optimizer.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.value = loss_of(self.student, self.lesson, self.loss)
            with tf32_gradients():
                self.value.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            self.after_step()
        return graph


def tensors_of(lesson: Lesson) -> list[Tensor]:
    """All tensors of a lesson."""
    return [lesson.images, lesson.output, *lesson.features]
