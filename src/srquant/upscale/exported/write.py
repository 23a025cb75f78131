"""Export a network to a file, together with what ``open_exported`` must know about it."""

from pathlib import Path

from srquant.deploy.export.record import KEY, TENSORRT, LayerRecord, Record
from srquant.deploy.layer_precision import LayerPrecision
from srquant.errors import OutputError
from srquant.measure.cost.formulas import LayerCost, feature_average_bits
from srquant.measure.cost.layer_summaries import layer_summaries
from srquant.models.checkpoint import EXPORTED
from srquant.models.network import Network
from srquant.upscale.exported.sizes import small_side
from srquant.upscale.tiles.tiling import measure_tiling


def export_model(network: Network, path: Path) -> list[LayerPrecision]:
    """Write a network for OpenVINO or ONNX Runtime, with its facts inside; existing files are replaced.

    Args:
        network: float or frozen, without branches.
        path: ``.xml``, which gets a ``.bin`` beside it, or ``.onnx``.

    Returns:
        The precision in which each layer runs on this machine.

    Raises:
        OutputError: another suffix, or the files can't be written.
        EngineError: a part of the network can't be exported.
    """
    if path.suffix not in EXPORTED:
        raise OutputError(f"{path}: the suffix decides the format; use .xml for OpenVINO, or .onnx")
    return _to_xml(network, path) if path.suffix == ".xml" else _to_onnx(network, path)


def export_for_tensorrt(network: Network, path: Path, height: int, width: int) -> list[LayerPrecision]:
    """Write a network in TensorRT's form of ONNX, with its facts inside; an existing file is replaced.

    Args:
        network: float or frozen, without branches.
        path: ``.onnx``.
        height: of the pictures that the file will take, and the network can take.
        width: of the pictures.

    Returns:
        The precision that the file asks for, for each layer.

    Raises:
        OutputError: the file can't be written.
        EngineError: a part of the network can't be exported.
    """
    from srquant.deploy.onnx.model import save_onnx
    from srquant.deploy.tensorrt.model import layer_precisions, to_tensorrt

    model = to_tensorrt(network, height, width)
    model.metadata_props.add(key=KEY, value=record_of(network).to_json())
    model.metadata_props.add(key=TENSORRT, value=f"{height}x{width}")
    save_onnx(model, path)
    return layer_precisions(model)


def record_of(network: Network) -> Record:
    """The facts of a network; runs small pictures through it."""
    facts, tiling, layers = network.facts, measure_tiling(network), layer_summaries(network)
    costs = [LayerCost(layer.name, 0, 0, layer.weight_bits, layer.activation_bits) for layer in layers]
    return Record(
        facts.architecture,
        facts.scale,
        facts.smallest,
        facts.multiple_of,
        tiling.overlap,
        tiling.alignment,
        tiling.bytes_per_pixel,
        tiling.exact,
        feature_average_bits(costs, facts.ends),
        tuple(LayerRecord(layer.name, layer.kind, layer.weight_bits, layer.activation_bits) for layer in layers),
    )


def _to_xml(network: Network, path: Path) -> list[LayerPrecision]:
    from srquant.deploy.openvino.model import save_openvino, to_openvino
    from srquant.deploy.openvino.precision import layer_precisions

    model = to_openvino(network)
    model.set_rt_info(record_of(network).to_json(), KEY)
    save_openvino(model, path)
    return layer_precisions(model, small_side(network.facts))


def _to_onnx(network: Network, path: Path) -> list[LayerPrecision]:
    from srquant.deploy.onnx.model import save_onnx, to_onnx
    from srquant.deploy.onnx.precision import layer_precisions

    model = to_onnx(network)
    model.metadata_props.add(key=KEY, value=record_of(network).to_json())
    save_onnx(model, path)
    return layer_precisions(model)
