"""The OpenVINO engine: fast on CPUs."""

from srquant.models.network import Network
from srquant.upscale.engines.fingerprint import fingerprint
from srquant.upscale.engines.protocol import Images
from srquant.upscale.tiles.tiling import measure_tiling


class OpenVINOEngine:
    """OpenVINO on the CPU: float32 arithmetic for float layers, integer arithmetic for quantized ones.

    Args:
        network: float or frozen.
        threads: number of threads to compute with; all cores by default.

    Raises:
        EngineError: a part of the network can't be exported.
        ImportError: OpenVINO isn't installed.
    """

    name = "openvino"

    def __init__(self, network: Network, threads: int | None = None) -> None:
        from srquant.deploy.openvino.model import to_openvino
        from srquant.deploy.openvino.session import Session

        self.network, self.facts = network, network.facts
        self.tiling = measure_tiling(network)
        self.session = Session(to_openvino(network), threads)

    def __call__(self, images: Images) -> Images:
        """Upscale; see ``Engine``."""
        return self.session(images)

    def fingerprint(self) -> str:
        """See ``Engine``."""
        return fingerprint(self.network)

    def float_layers(self) -> set[str]:
        """See ``Engine``; compiles the model once more to ask OpenVINO."""
        from srquant.deploy.layer_precision import float_names
        from srquant.deploy.openvino.precision import layer_precisions

        return float_names(layer_precisions(self.session.model))
