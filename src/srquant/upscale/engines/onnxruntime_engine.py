"""The ONNX Runtime engine: portable."""

from srquant.models.network import Network
from srquant.upscale.engines.fingerprint import fingerprint
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
        from srquant.deploy.onnx.model import to_onnx
        from srquant.deploy.onnx.session import Session

        self.network, self.facts = network, network.facts
        self.tiling = measure_tiling(network)
        self.session = Session(to_onnx(network).SerializeToString(), threads)

    def __call__(self, images: Images) -> Images:
        """Upscale; see ``Engine``."""
        return self.session(images)

    def fingerprint(self) -> str:
        """See ``Engine``."""
        return fingerprint(self.network, self.name)

    def float_layers(self) -> set[str]:
        """See ``Engine``; exports the network once more to ask ONNX Runtime."""
        from srquant.deploy.layer_precision import float_names
        from srquant.deploy.onnx.model import to_onnx
        from srquant.deploy.onnx.precision import layer_precisions

        return float_names(layer_precisions(to_onnx(self.network)))
