"""The ONNX Runtime engine: portable."""

import numpy as np

from srquant.models.network import Network
from srquant.upscale.engines.one_by_one import one_by_one
from srquant.upscale.engines.protocol import Images
from srquant.upscale.tiles.tiling import measure_tiling


class OnnxRuntimeEngine:
    """ONNX Runtime on the CPU.

    Args:
        network: float or frozen.
        threads: number of threads to compute with; all cores by default.

    Raises:
        EngineError: a part of the network can't be exported.
        ImportError: ONNX or ONNX Runtime isn't installed.
    """

    name = "onnxruntime"

    def __init__(self, network: Network, threads: int | None = None) -> None:
        import onnxruntime

        from srquant.deploy.onnx.model import to_onnx

        self.network = network
        self.tiling = measure_tiling(network)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        model = to_onnx(network).SerializeToString()
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def __call__(self, images: Images) -> Images:
        """Upscale; see ``Engine``."""
        return one_by_one(self._run, images, self.session.get_inputs()[0].shape[0] == 1)

    def _run(self, images: Images) -> Images:
        result: Images = self.session.run(["upscaled"], {"image": np.ascontiguousarray(images)})[0]
        return result

    def float_layers(self) -> set[str]:
        """See ``Engine``; exports the network once more to ask ONNX Runtime."""
        from srquant.deploy.layer_precision import float_names
        from srquant.deploy.onnx.model import to_onnx
        from srquant.deploy.onnx.precision import layer_precisions

        return float_names(layer_precisions(to_onnx(self.network)))
