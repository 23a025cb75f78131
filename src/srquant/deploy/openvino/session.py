"""An OpenVINO model that runs on the CPU, compiled for each input shape."""

from collections import OrderedDict, deque
from threading import Lock
from typing import Any

import numpy as np
import openvino

from srquant.deploy.one_by_one import Images, one_by_one
from srquant.deploy.openvino.float_precision import FloatPrecision, cpu_options

KEPT_SHAPES = 2
"""Input shapes for which a compiled model is kept."""


class Compiled:
    """A compiled model for any number of threads: each call has an inference request of its own.

    Args:
        model: from ``compile_model``.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.idle: deque[Any] = deque()

    def __call__(self, images: Images) -> Images:
        """The model's output, in memory that no other call writes to."""
        try:
            request = self.idle.pop()
        except IndexError:
            request = self.model.create_infer_request()
        result: Images = request.infer([np.ascontiguousarray(images)], share_inputs=True)[0]
        self.idle.append(request)
        return result


class Session:
    """Runs a model of one input and one output; any number of threads may call it.

    Fixed shapes run faster than dynamic ones, so each new input shape is compiled; the last two are kept.

    Args:
        model: left unchanged.
        threads: number of threads to compute with; all cores by default.
        float_precision: of what isn't quantized.
    """

    def __init__(
        self, model: openvino.Model, threads: int | None = None, float_precision: FloatPrecision = "f32"
    ) -> None:
        self.core = openvino.Core()
        self.model = model
        self.compiled: OrderedDict[tuple[int, ...], Compiled] = OrderedDict()
        self.compiling = Lock()
        self.options = cpu_options(float_precision)
        if threads is not None:
            self.options["INFERENCE_NUM_THREADS"] = threads

    def __call__(self, images: Images) -> Images:
        """The model's output for ``N x C x H x W``."""
        batch = self.model.input(0).partial_shape[0]
        return one_by_one(self._run, images, batch.is_static and batch.get_length() == 1)

    def _run(self, images: Images) -> Images:
        with self.compiling:
            compiled = self.compiled_for(images.shape)
        return compiled(images)

    def compiled_for(self, shape: tuple[int, ...]) -> Compiled:
        """The compiled model for one input shape."""
        if shape not in self.compiled:
            while len(self.compiled) >= KEPT_SHAPES:
                self.compiled.popitem(last=False)
            model = self.model.clone()
            model.reshape(list(shape))
            self.compiled[shape] = Compiled(self.core.compile_model(model, "CPU", self.options))
        self.compiled.move_to_end(shape)
        return self.compiled[shape]
