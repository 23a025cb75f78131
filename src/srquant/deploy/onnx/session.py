"""An ONNX model that runs in ONNX Runtime on the CPU."""

import numpy as np
import onnxruntime

from srquant.deploy.one_by_one import Images, one_by_one

ERRORS_ONLY = 3
"""Level of what ONNX Runtime writes to stderr."""


class Session:
    """Runs a model of one input and one output.

    Args:
        model: the content of an ``.onnx`` file, or its path.
        threads: number of threads to compute with; all cores by default.
        joins: whether the runtime may join layers and quantizers around them, and for that round biases in float to
            whole units of the layer's sum of integers.
    """

    def __init__(self, model: bytes | str, threads: int | None = None, joins: bool = True) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = ERRORS_ONLY
        options.intra_op_num_threads = threads or 0
        options.add_session_config_entry("session.disable_quant_qdq", str(int(not joins)))
        self.runtime = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def __call__(self, images: Images) -> Images:
        """The model's output for ``N x C x H x W``."""
        return one_by_one(self._run, images, self.runtime.get_inputs()[0].shape[0] == 1)

    def _run(self, images: Images) -> Images:
        name = self.runtime.get_inputs()[0].name
        result: Images = self.runtime.run(None, {name: np.ascontiguousarray(images)})[0]
        return result
