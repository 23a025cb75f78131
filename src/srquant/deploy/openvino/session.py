"""An OpenVINO model that runs on the CPU, compiled for each input shape."""

from collections import OrderedDict
from typing import Any

import numpy as np
import openvino

from srquant.deploy.one_by_one import Images, one_by_one
from srquant.deploy.openvino.float_precision import FloatPrecision, cpu_options

KEPT_SHAPES = 2
"""Input shapes for which a compiled model is kept."""


class Session:
    """Runs a model of one input and one output.

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
        self.compiled: OrderedDict[tuple[int, ...], Any] = OrderedDict()
        self.options = cpu_options(float_precision)
        if threads is not None:
            self.options["INFERENCE_NUM_THREADS"] = threads

    def __call__(self, images: Images) -> Images:
        """The model's output for ``N x C x H x W``."""
        batch = self.model.input(0).partial_shape[0]
        return one_by_one(self._run, images, batch.is_static and batch.get_length() == 1)

    def _run(self, images: Images) -> Images:
        result: Images = self.request(images.shape).infer([np.ascontiguousarray(images)], share_inputs=True)[0]
        return result

    def request(self, shape: tuple[int, ...]) -> Any:
        """The inference request for one input shape."""
        if shape not in self.compiled:
            while len(self.compiled) >= KEPT_SHAPES:
                self.compiled.popitem(last=False)
            model = self.model.clone()
            model.reshape(list(shape))
            self.compiled[shape] = self.core.compile_model(model, "CPU", self.options).create_infer_request()
        self.compiled.move_to_end(shape)
        return self.compiled[shape]
