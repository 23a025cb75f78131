"""Record all kernels of a network once and start them together, because each start takes time on the CPU."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

KEPT_SHAPES = 2
"""Input shapes for which a recording is kept; each holds the memory of all intermediate results."""

WARMUPS = 2
"""Runs before the recording, in which kernels are compiled and chosen."""


class Recording:
    """One recording of a module for one input shape."""

    def __init__(self, module: nn.Module, images: Tensor) -> None:
        self.images = images.clone()
        stream = torch.cuda.Stream(images.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(images.device))
        with torch.cuda.stream(stream):
            for _ in range(WARMUPS):
                module(self.images)
        torch.cuda.current_stream(images.device).wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.result: Tensor = module(self.images)

    def __call__(self, images: Tensor) -> Tensor:
        """The module's result; the next call overwrites it."""
        self.images.copy_(images)
        self.graph.replay()
        return self.result


class GraphRunner:
    """Runs a module by recordings, one for each of the last input shapes.

    Args:
        module: on a CUDA device; doesn't wait for results on the way.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.recordings: OrderedDict[tuple[int, ...], Recording] = OrderedDict()

    def __call__(self, images: Tensor) -> Tensor:
        """The module's result; the next call overwrites it."""
        shape = tuple(images.shape)
        if shape not in self.recordings:
            while len(self.recordings) >= KEPT_SHAPES:
                self.recordings.popitem(last=False)
            self.recordings[shape] = Recording(self.module, images)
        self.recordings.move_to_end(shape)
        return self.recordings[shape](images)
