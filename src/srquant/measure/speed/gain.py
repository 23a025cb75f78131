"""Whether a quantized network is faster than its float network in OpenVINO, on this machine."""

from dataclasses import dataclass

from srquant.deploy.openvino.float_precision import has_bfloat16
from srquant.deploy.openvino.model import save_openvino, to_openvino
from srquant.measure.speed.exported_models import export_quantized
from srquant.measure.speed.time_models import EngineName, ExportedModel, time_models
from srquant.models.network import Facts, Network
from srquant.temporary_folders import temporary_folder

SIDE, ROUNDS = 64, 7


@dataclass(frozen=True)
class Gain:
    """Times of one picture, medians.

    Attributes:
        side: of the low-resolution picture in pixels.
        integer: milliseconds of the quantized network; of the slowest one, if it has several.
        floating: milliseconds of the float network, as fast as OpenVINO runs it.
        precision: of the float network, ``float32`` or ``bfloat16``.
    """

    side: int
    integer: float
    floating: float
    precision: str

    def __str__(self) -> str:
        """One line, with advice where nothing is gained."""
        times = f"quantized {self.integer:.1f} ms, float {self.floating:.1f} ms ({self.precision})"
        line = f"OpenVINO on this machine, {self.side}x{self.side}: {times}"
        if self.integer <= self.floating:
            return f"{line}, {self.floating / self.integer:.2f} times as fast"
        return f"{line}: slower than the float network; with other --layers it may be faster"


def measured_gain(network: Network, quantized: Network, threads: int) -> Gain:
    """Export both networks and time them in turns.

    Args:
        network: float, on the CPU.
        quantized: frozen, on the CPU.
        threads: of OpenVINO.

    Raises:
        EngineError: a network can't be exported to OpenVINO, or can't run there.
    """
    with temporary_folder() as folder:
        integer = export_quantized(quantized, folder)
        save_openvino(to_openvino(network), folder / "float.xml")
        precision, kind = fastest_float()
        floating = ExportedModel("openvino", precision, kind, folder / "float.xml")
        side = side_for(network.facts)
        first, *others = time_models([floating, *integer], side, side, threads, ROUNDS)
    return Gain(side, max(m.timing.median_ms for m in others), first.timing.median_ms, precision)


def fastest_float() -> tuple[str, EngineName]:
    """The precision in which OpenVINO runs float networks fastest on this processor, and the program for it."""
    return ("bfloat16", "openvino-bf16") if has_bfloat16() else ("float32", "openvino")


def side_for(facts: Facts) -> int:
    """``SIDE`` or more: a size that the network takes."""
    side = max(SIDE, facts.smallest)
    return -(-side // facts.multiple_of) * facts.multiple_of
