"""The OpenVINO engine: fast on CPUs."""

from srquant.deploy.openvino.float_precision import FloatPrecision, engine_name
from srquant.models.network import Network
from srquant.upscale.engines.fingerprint import fingerprint
from srquant.upscale.engines.protocol import Images
from srquant.upscale.tiles.tiling import measure_tiling


class OpenVINOEngine:
    """OpenVINO on the CPU: integer arithmetic for quantized layers, float arithmetic for all others.

    Args:
        network: float or frozen.
        threads: number of threads to compute with; all cores by default.
        float_precision: of float layers and of what stands between quantized ones. With ``bf16`` the picture is not
            the one that the other engines compute.

    Raises:
        EngineError: a part of the network can't be exported.
        ImportError: OpenVINO isn't installed.
    """

    def __init__(self, network: Network, threads: int | None = None, float_precision: FloatPrecision = "f32") -> None:
        from srquant.deploy.openvino.model import to_openvino
        from srquant.deploy.openvino.session import Session

        self.network, self.facts = network, network.facts
        self.name, self.float_precision = engine_name(float_precision), float_precision
        self.tiling = measure_tiling(network)
        self.session = Session(to_openvino(network), threads, float_precision)

    def __call__(self, images: Images) -> Images:
        """Upscale; see ``Engine``."""
        return self.session(images)

    def fingerprint(self) -> str:
        """See ``Engine``."""
        return fingerprint(self.network, self.name)

    def float_layers(self) -> set[str]:
        """See ``Engine``; compiles the model once more to ask OpenVINO."""
        from srquant.deploy.layer_precision import float_names
        from srquant.deploy.openvino.precision import layer_precisions

        return float_names(layer_precisions(self.session.model, float_precision=self.float_precision))
