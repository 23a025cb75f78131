"""The OpenVINO engine: fast on CPUs."""

from collections import OrderedDict
from typing import Any

import numpy as np

from srquant.models.network import Network
from srquant.upscale.engines.one_by_one import one_by_one
from srquant.upscale.engines.protocol import Images
from srquant.upscale.tiles.tiling import measure_tiling

KEPT_SHAPES = 2
"""Input shapes for which a compiled model is kept."""


class OpenVINOEngine:
    """OpenVINO on the CPU: float32 arithmetic for float layers, integer arithmetic for quantized ones.

    Fixed shapes run faster than dynamic ones, so each new input shape is compiled; the last two are kept.

    Args:
        network: float or frozen.
        threads: number of threads to compute with; all cores by default.

    Raises:
        EngineError: a part of the network can't be exported.
        ImportError: OpenVINO isn't installed.
    """

    name = "openvino"

    def __init__(self, network: Network, threads: int | None = None) -> None:
        import openvino

        from srquant.deploy.openvino.model import CPU_OPTIONS, to_openvino

        self.network = network
        self.tiling = measure_tiling(network)
        self.core = openvino.Core()
        self.model = to_openvino(network)
        self.compiled: OrderedDict[tuple[int, ...], Any] = OrderedDict()
        self.options: dict[str, Any] = dict(CPU_OPTIONS)
        if threads is not None:
            self.options["INFERENCE_NUM_THREADS"] = threads

    def __call__(self, images: Images) -> Images:
        """Upscale; see ``Engine``."""
        return one_by_one(self._run, images, self.model.input(0).partial_shape[0].is_static)

    def _run(self, images: Images) -> Images:
        request = self.request(images.shape)
        result: Images = request.infer([np.ascontiguousarray(images)], share_inputs=True)[0]
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

    def float_layers(self) -> set[str]:
        """See ``Engine``; compiles the model once more to ask OpenVINO."""
        from srquant.deploy.layer_precision import float_names
        from srquant.deploy.openvino.precision import layer_precisions

        return float_names(layer_precisions(self.model))
