"""``srquant export --layers``: measure the layers of the exported file, and write ``layers.yaml``."""

from pathlib import Path
from typing import TYPE_CHECKING

from srquant.cli.options import usable_cores

if TYPE_CHECKING:
    from srquant.deploy.layer_precision import LayerPrecision
    from srquant.measure.speed.layer_times import LayerTimes
    from srquant.measure.speed.layers_yaml import LayersReport

Bits = dict[str, tuple[int | None, int | None]]
"""Of weights and activations, by layer."""

UNKNOWN: tuple[int | None, int | None] = (None, None)
ROUNDS = 7


def write_layers_report(
    exported: Path, precisions: "list[LayerPrecision]", height: int, width: int, path: Path
) -> None:
    """Measure with all cores, and write the report.

    Args:
        exported: the file that was written.
        precisions: of its layers on this machine.
        height: of the picture, which the network can take.
        width: of the picture.
        path: of the report.

    Raises:
        OutputError: the report can't be written.
    """
    from srquant.measure.speed.layers_yaml import write_layers

    write_layers(layers_report(exported, precisions, height, width), path)


def layers_report(exported: Path, precisions: "list[LayerPrecision]", height: int, width: int) -> "LayersReport":
    """Measure with all cores; arguments as ``write_layers_report``."""
    from srquant.measure.speed.layers_yaml import LayersReport, MeasuredLayer, processor
    from srquant.upscale.exported.open_exported import open_exported

    running, threads = open_exported(exported), usable_cores()
    assert running.record is not None
    times = layer_times(exported, precisions, height, width, threads)
    bits: Bits = {layer.name: (layer.weight_bits, layer.activation_bits) for layer in running.record.layers}
    layers = tuple(
        MeasuredLayer(layer.name, *bits.get(layer.name, UNKNOWN), layer.precision, times.shares.get(layer.name))
        for layer in precisions
    )
    size = f"{height}x{width}"
    return LayersReport(exported.name, running.name, processor(), threads, size, times.milliseconds, layers)


def layer_times(
    exported: Path, precisions: "list[LayerPrecision]", height: int, width: int, threads: int
) -> "LayerTimes":
    """The times in the engine for the file's format."""
    from srquant.measure.speed.layer_times import onnxruntime_layer_times, openvino_layer_times

    if exported.suffix == ".xml":
        return openvino_layer_times(exported, height, width, threads, ROUNDS)
    return onnxruntime_layer_times(exported, [layer.name for layer in precisions], height, width, threads, ROUNDS)
