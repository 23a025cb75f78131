"""``layers.yaml``: bits, precision and share of the time of every layer of an exported model, on this machine."""

from dataclasses import dataclass
from pathlib import Path

import openvino
import yaml

from srquant.errors import OutputError
from srquant.files import write_whole


@dataclass(frozen=True)
class MeasuredLayer:
    """A line of the report.

    Attributes:
        name: of the layer in the network.
        weight_bits: 2 to 8, or 32 for float; None for operations that are no layer of the network.
        activation_bits: likewise.
        precision: that it ran in: ``int8``, ``float32``, ...
        time_share: of the time of all nodes, 0 to 1; None where the engine computes it under another name.
    """

    name: str
    weight_bits: int | None
    activation_bits: int | None
    precision: str
    time_share: float | None


@dataclass(frozen=True)
class LayersReport:
    """The report.

    Attributes:
        model: name of the exported file.
        engine: that ran it.
        processor: that ran it.
        threads: number of threads.
        input: of the picture, ``HxW``.
        milliseconds: of all nodes together.
        layers: in the network's order.
    """

    model: str
    engine: str
    processor: str
    threads: int
    input: str
    milliseconds: float
    layers: tuple[MeasuredLayer, ...]

    def to_yaml(self) -> str:
        """As text; shares and milliseconds have four digits."""
        shares = [layer.time_share for layer in self.layers]
        values = vars(self) | {
            "milliseconds": float(f"{self.milliseconds:.4g}"),
            "other_time_share": round(1 - sum(share for share in shares if share is not None), 4),
            "layers": [
                vars(layer) | {"time_share": None if layer.time_share is None else round(layer.time_share, 4)}
                for layer in self.layers
            ],
        }
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def processor() -> str:
    """Name of this machine's processor."""
    return str(openvino.Core().get_property("CPU", "FULL_DEVICE_NAME")).strip()


def write_layers(report: LayersReport, path: Path) -> None:
    """Write the report; raises an ``OutputError`` if the file can't be written."""
    try:
        write_whole(path, report.to_yaml().encode())
    except OSError as error:
        raise OutputError(f"can't write {path}: {error}; choose another place") from error
