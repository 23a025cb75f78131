"""Network -> ONNX model, float or with quantized convolutions."""

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from srquant.deploy.export.pair_saturation import has_vnni
from srquant.deploy.export.trace import export_graph
from srquant.deploy.export.translate import translate
from srquant.deploy.onnx.backend import OnnxBackend
from srquant.errors import OutputError
from srquant.files import replacing
from srquant.models.network import Network

OPSET = 13
"""The first with scales per channel in DequantizeLinear; every runtime since 2021 has it."""

IR_VERSION = 7
"""The file format that came with this opset."""


def to_onnx(network: Network, pair_saturation: bool | None = None) -> onnx.ModelProto:
    """Export a float or frozen network.

    Args:
        network: its convolutions are ``nn.Conv2d`` or ``FrozenConv2d``.
        pair_saturation: whether the target processor lacks VNNI; None: as on this processor. Layers that would saturate
            there are exported in float.

    Returns:
        A checked model with input ``image`` ``N x 3 x H x W`` float32 in [0, 1], all of N, H, W dynamic, and output
        ``upscaled`` ``N x 3 x scale*H x scale*W``.

    Raises:
        EngineError: a part of the network can't be exported to ONNX.
    """
    graph = export_graph(network.eval(), not has_vnni() if pair_saturation is None else pair_saturation)
    backend = OnnxBackend()
    result = translate(graph, backend, "image")
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, "H", "W"])
    upscaled = helper.make_tensor_value_info("upscaled", TensorProto.FLOAT, ["N", None, "H_up", "W_up"])
    nodes = [*backend.nodes, helper.make_node("Identity", [result], ["upscaled"], name="upscaled")]
    onnx_graph = helper.make_graph(nodes, network.facts.architecture, [image], [upscaled], backend.initializers)
    model = helper.make_model(
        onnx_graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="srquant",
    )
    onnx.checker.check_model(model, full_check=True)
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
