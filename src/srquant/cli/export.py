"""``srquant export``: a model for other programs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srquant.cli.options import Json, Model, Overwrite, Scale
from srquant.cli.output import check_json, check_output, show, table, write_json
from srquant.errors import OutputError

if TYPE_CHECKING:
    from srquant.deploy.precision import LayerPrecision
    from srquant.models.network import Network

Output = Annotated[
    Path, typer.Option("-o", "--output", show_default=False, help=".xml for OpenVINO (.bin beside it) or .onnx.")
]


def export(model: Model, output: Output, scale: Scale = None, overwrite: Overwrite = False, json: Json = None) -> None:
    """Write a model for OpenVINO or ONNX runtimes and show the precision each layer runs in here."""
    if output.suffix not in (".xml", ".onnx"):
        raise OutputError(f"{output}: its suffix decides the format; use .xml for OpenVINO or .onnx")
    check_output(output, overwrite)
    if output.suffix == ".xml":
        check_output(output.with_suffix(".bin"), overwrite)
    check_json(json)

    from srquant.deploy.opening import open_network

    network = open_network(model, scale)
    layers = export_openvino(network, output) if output.suffix == ".xml" else export_onnx(network, output)
    rows = table("layer", "precision", title=str(output))
    for layer in layers:
        rows.add_row(layer.name, layer.precision)
    show(rows, json_to=json)
    precisions = [{"name": layer.name, "precision": layer.precision} for layer in layers]
    write_json({"path": str(output), "layers": precisions}, json)


def export_openvino(network: "Network", output: Path) -> "list[LayerPrecision]":
    """Write ``.xml`` and ``.bin``; ask OpenVINO for the precisions."""
    from srquant.deploy.openvino import save_openvino, to_openvino
    from srquant.deploy.precision import layer_precisions

    exported = to_openvino(network)
    save_openvino(exported, output)
    return layer_precisions(exported)


def export_onnx(network: "Network", output: Path) -> "list[LayerPrecision]":
    """Write ``.onnx``; ask ONNX Runtime for the precisions."""
    from srquant.deploy.onnx import save_onnx, to_onnx
    from srquant.deploy.onnx_precision import layer_precisions

    exported = to_onnx(network)
    save_onnx(exported, output)
    return layer_precisions(exported)
