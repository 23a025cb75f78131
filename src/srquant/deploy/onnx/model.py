"""Network -> ONNX model, float or with quantized convolutions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import fx
from torch.export import ExportedProgram
from torch.onnx import ONNXProgram

from srquant.deploy.export.convolve_to_codes import convolve_to_codes
from srquant.deploy.export.pair_saturation import has_vnni
from srquant.deploy.export.program import export_graph, program_of
from srquant.deploy.export.refusals import not_converted
from srquant.deploy.onnx.nodes import Value
from srquant.deploy.onnx.operators import Translation
from srquant.errors import OutputError
from srquant.files import replacing
from srquant.models.graph.quiet import quiet
from srquant.models.network import Network

OPSET = 18
"""The one that PyTorch's exporter writes."""


def to_onnx(network: Network, pair_saturation: bool | None = None) -> onnx.ModelProto:
    """Export a float or frozen network.

    Args:
        network: its convolutions are ``nn.Conv2d`` or ``FrozenConv2d``.
        pair_saturation: whether the target processor lacks VNNI; None: as on this processor. Layers that would saturate
            there are exported in float.

    Returns:
        A checked model with ``input`` ``N x 3 x H x W`` float32 in [0, 1], all of N, H, W dynamic, and ``output``
        ``N x 3 x scale*H x scale*W``; N is 1 where the network's steps depend on it.

    Raises:
        EngineError: a part of the network can't be exported to ONNX.
    """
    saturates = not has_vnni() if pair_saturation is None else pair_saturation
    graph = export_graph(network.eval(), saturates)
    convolve_to_codes(graph)
    exported = program_of(graph, network.facts)
    translation = Translation(exported, saturates)
    program = converted(graph, exported, translation.table())
    translation.finish()
    return checked(graph, program.model_proto)


def converted(graph: fx.GraphModule, program: ExportedProgram, table: dict[Any, Callable[..., Value]]) -> ONNXProgram:
    """What PyTorch's exporter makes of a program, with functions of ours for some operators.

    Raises:
        EngineError: an operator of the graph, which the program was made of, has no form in ONNX.
    """
    try:
        with quiet():
            result = torch.onnx.export(
                program,
                dynamo=True,
                optimize=False,
                opset_version=OPSET,
                input_names=["input"],
                output_names=["output"],
                custom_translation_table=table,
                verbose=False,
            )
    except Exception as error:
        raise not_converted(graph, "ONNX", error) from error
    assert result is not None
    return result


def checked(graph: fx.GraphModule, model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without the exporter's notes.

    Raises:
        EngineError: it isn't valid.
    """
    _drop_notes(model)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise not_converted(graph, "ONNX", error) from error
    return model


def save_onnx(model: onnx.ModelProto, path: Path) -> None:
    """Write ``path`` (.onnx).

    Raises:
        OutputError: the file can't be written.
    """
    try:
        with replacing(path) as written:
            onnx.save(model, written)
    except OSError as error:
        raise OutputError(f"can't write {path}: {error}; choose another place") from error


def _drop_notes(model: onnx.ModelProto) -> None:
    """Drop what the exporter notes about PyTorch's graph."""
    graph = model.graph
    del graph.metadata_props[:]
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer, *graph.value_info):
        del part.metadata_props[:]
