"""Put a page together from what was measured."""

import datetime
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from srquant.files import file_digest
from srquant.grids.uniform import FLOAT_BITS
from srquant.measure.speed.layers_yaml import processor
from srquant.models.card import find_card
from srquant.models.load import describe
from srquant.models.network import Network
from srquant.report.charts import Bars, bar_chart
from srquant.report.measured_model import Layer, MeasuredModel
from srquant.report.page import Chart
from srquant.report.speed import Setting

LayerValue = Callable[[Layer], float | None]

BITS_TEXT = "Bits of weights and activations; float layers have no bar."
TIME_TEXT = (
    "Share of the time of all operations in OpenVINO, on this machine. What is no layer, such as sums and shuffles, "
    "is missing."
)
SENSITIVITY_TEXT = (
    "Mean squared error of the picture, in [0, 1] squared, if this layer alone is quantized and all others stay float."
)


def charts(models: Sequence[MeasuredModel]) -> list[Chart]:
    """The charts of layers for which something is known."""
    quantized = [model for model in models if model.bits is not None]
    made = []
    if quantized:
        rows = [_bars(model, {"weights": _weights, "activations": _activations}) for model in quantized]
        made.append(Chart("Bits", BITS_TEXT, bar_chart("Bits of each layer", "bits", rows)))
    sensitive = [model for model in quantized if any(layer.sensitivity for layer in model.layers)]
    if sensitive:
        rows = [_bars(model, {"error": lambda layer: layer.sensitivity or None}) for model in sensitive]
        svg = bar_chart("Squared error of each layer alone", "squared error", rows, logarithmic=True)
        made.append(Chart("Sensitivity", SENSITIVITY_TEXT, svg))
    timed = [model for model in models if any(layer.time_share is not None for layer in model.layers)]
    if timed:
        rows = [_bars(model, {"time": lambda layer: _percent(layer.time_share)}) for model in timed]
        made.append(Chart("Time", TIME_TEXT, bar_chart("Share of the time of each layer", "%", rows)))
    return made


def timing_text(setting: Setting, scale: int) -> str:
    """A sentence on how times were taken."""
    return (
        f"Times: OpenVINO on this machine, {setting.threads} threads, float32 for what isn't quantized, a picture of "
        f"{setting.height}x{setting.width} upscaled by {scale}, in turns, medians of {setting.rounds}, per 10^6 pixels "
        "of the result."
    )


def about_network(network: Network, path: Path | None) -> dict[str, str]:
    """Facts about a float network, and its licence.

    Args:
        network: the float network, or the float form of a quantized one.
        path: its file; None if it isn't known.
    """
    facts = {"Network": describe(network)}
    if path is None:
        return facts | {"Licence": "not known: give the float network with --reference"}
    card = find_card(path)
    facts |= {"File": path.name, "SHA-256": file_digest(path)}
    if card is None:
        return facts | {"Licence": f"not known: there is no card beside {path.name}"}
    origin = {} if card.origin is None else {"Origin": card.origin}
    return facts | {"Licence": f"{card.licence} (from {card.path.name})"} | origin


def made_by_programs() -> str:
    """Versions of the programs, the processor and the date."""
    programs = ", ".join(f"{name} {version(name)}" for name in ("srquant", "torch", "openvino"))
    return f"{programs}; {processor()}; {datetime.date.today().isoformat()}"


def _bars(model: MeasuredModel, series: dict[str, LayerValue]) -> Bars:
    values = {name: [value(layer) for layer in model.layers] for name, value in series.items()}
    return Bars(model.label, [layer.name for layer in model.layers], values)


def _weights(layer: Layer) -> float | None:
    return _bits(layer.weight_bits)


def _activations(layer: Layer) -> float | None:
    return _bits(layer.activation_bits)


def _bits(bits: int) -> float | None:
    return None if bits == FLOAT_BITS else bits


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
