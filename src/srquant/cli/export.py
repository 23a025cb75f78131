"""``srquant export``: write a model for OpenVINO, ONNX Runtime or TensorRT."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srquant.cli.layers_report import write_layers_report
from srquant.cli.options import DEFAULT_INPUT, Depth, Json, Model, Overwrite, Scale, input_size
from srquant.cli.output import check_json, check_output, make_folder, note, show, table, write_json
from srquant.errors import InputError, OutputError, suggest

if TYPE_CHECKING:
    from srquant.deploy.layer_precision import LayerPrecision
    from srquant.insertion.branched_network import BranchedNetwork
    from srquant.models.network import Network

Output = Annotated[
    Path,
    typer.Option(
        "-o", "--output", show_default=False, help="File to write: .xml for OpenVINO (with a .bin beside it), or .onnx."
    ),
]
Layers = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH",
        help="Also measure the layers and write this report (YAML): bits, precision and share of the time.",
    ),
]
Target = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        show_default=False,
        help="openvino (default for .xml), onnxruntime (default for .onnx), or tensorrt: an .onnx for pictures of one "
        "size, that of --input.",
    ),
]
Size = Annotated[
    str | None,
    typer.Option(
        "--input",
        metavar="HxW",
        show_default=False,
        help=f"Size of the low-resolution picture, for --target tensorrt and for --layers (there default: "
        f"{DEFAULT_INPUT}).",
    ),
]

TENSORRT = "tensorrt"
SUFFIXES = {"openvino": ".xml", "onnxruntime": ".onnx", TENSORRT: ".onnx"}
"""Of the files for each target."""

COMPILING = (
    'in your own program: compile_model("NAME.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}); without it OpenVINO '
    "computes in bfloat16 on processors that have it, and gives another picture"
)
"""OpenVINO doesn't take the precision from the file."""


def export(
    model: Model,
    output: Output,
    target: Target = None,
    layers: Layers = None,
    size: Size = None,
    scale: Scale = None,
    depth: Depth = None,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Write a model for OpenVINO, ONNX Runtime or TensorRT and show in which precision each layer runs on this machine.

    For TensorRT, which isn't run here, the precision is the one that the file asks for.

    The commands upscale, evaluate, bench and info take the file as MODEL. A network whose bits depend on the picture
    becomes three files: NAME.low, NAME.middle and NAME.high.
    """
    check_target(output, target)
    if target == TENSORRT:
        check_for_tensorrt(size, layers)
    check_json(json)
    height, width = input_size(size or DEFAULT_INPUT)

    from srquant.deploy.file.open_model import open_network
    from srquant.insertion.branched_network import BranchedNetwork
    from srquant.upscale.exported.sizes import check_size

    network = open_network(model, scale, depth)
    parts = branch_files(network, output) if isinstance(network, BranchedNetwork) else {output: network}
    reports = {path: None if layers is None else report_file(path, output, layers) for path in parts}
    for path, report in reports.items():
        check_files(path, report, overwrite)
    if target == TENSORRT or layers is not None:
        check_size(network.facts, None, height, width)
    make_folder(output)
    with together(list(parts)) as written:
        precisions = {path: write_model(part, written[path], target, height, width) for path, part in parts.items()}
    values = [about(part, path, precisions[path], json) for path, part in parts.items()]
    for path, report in reports.items():
        if report is not None:
            make_folder(report)
            write_layers_report(path, precisions[path], height, width, report)
    if output.suffix == ".xml":
        note(COMPILING)
    if isinstance(network, BranchedNetwork):
        show(network.describe(), json_to=json)
        write_json({"thresholds": network.thresholds.tolist(), "branches": values}, json)
    else:
        write_json(values[0], json)


def check_target(output: Path, target: str | None) -> None:
    """Raise an ``InputError`` unless the target is known and the output has its suffix."""
    if output.suffix not in SUFFIXES.values():
        raise OutputError(f"{output}: the suffix decides the format; use .xml for OpenVINO, or .onnx")
    if target is None:
        return
    if target not in SUFFIXES:
        raise InputError(f"--target {target}: unknown; {suggest(target, SUFFIXES)}")
    if output.suffix != SUFFIXES[target]:
        raise OutputError(
            f"{output}: --target {target} writes {SUFFIXES[target]}; use -o {output.stem}{SUFFIXES[target]}"
        )


def check_for_tensorrt(size: str | None, layers: Path | None) -> None:
    """Raise an ``InputError`` unless the options fit to a file that takes one size and doesn't run here."""
    if size is None:
        raise InputError(
            "--target tensorrt: the file takes pictures of one size; give it with --input HxW, such as --input 128x128"
        )
    if layers is not None:
        raise InputError(
            f"--layers {layers}: layers are measured on this machine, where TensorRT isn't run; leave --layers or "
            "--target tensorrt out"
        )


def branch_files(network: "BranchedNetwork", output: Path) -> "dict[Path, Network]":
    """The branches by the file that each is written to."""
    from srquant.insertion.branched_network import NAMES

    return {output.with_suffix(f".{NAMES[bits]}{output.suffix}"): part for bits, part in network.branches.items()}


def report_file(path: Path, output: Path, layers: Path) -> Path:
    """The report of one exported file: ``layers``, with the name of the branch in it where there are several."""
    return layers if path == output else layers.with_suffix(path.suffixes[-2] + layers.suffix)


def check_files(path: Path, report: Path | None, overwrite: bool) -> None:
    """Check, before any long work, that both files can be written, and for an .xml also the .bin beside it."""
    check_output(path, overwrite)
    if report is not None:
        check_output(report, overwrite)
    if path.suffix == ".xml":
        check_output(path.with_suffix(".bin"), overwrite)


@contextmanager
def together(paths: list[Path]) -> Iterator[dict[Path, Path]]:
    """Where each file of a folder is written to; several get their names together, never mixed with old ones."""
    from srquant.file_owners import owning
    from srquant.files import remove_stale, replace_together, temporary

    if len(paths) == 1:
        yield {path: path for path in paths}
        return
    remove_stale(paths[0].parent)
    weights = [path.with_suffix(".bin") for path in paths if path.suffix == ".xml"]
    with ExitStack() as stack:
        owner = stack.enter_context(owning(paths[0].parent))
        written = {path: stack.enter_context(temporary(path, owner)) for path in (*weights, *paths)}
        yield written
        replace_together(written)


def write_model(network: "Network", path: Path, target: str | None, height: int, width: int) -> "list[LayerPrecision]":
    """Write one network; returns the precision of its layers."""
    from srquant.upscale.exported.write import export_for_tensorrt, export_model

    return export_for_tensorrt(network, path, height, width) if target == TENSORRT else export_model(network, path)


def about(network: "Network", path: Path, layers: "list[LayerPrecision]", json: str | None) -> dict[str, object]:
    """Show the precision of a network's layers; returns the values for JSON."""
    from srquant.measure.cost.layer_summaries import layer_summaries

    ranges = {layer.name: layer.ranges for layer in layer_summaries(network)}
    rows = table("layer", "precision", title=str(path))
    for layer in layers:
        rows.add_row(
            layer.name, f"{layer.precision}{', dynamic ranges' if ranges.get(layer.name) == 'dynamic' else ''}"
        )
    show(rows, json_to=json)
    values = [{"name": layer.name, "precision": layer.precision, "ranges": ranges.get(layer.name)} for layer in layers]
    return {"path": str(path), "layers": values}
