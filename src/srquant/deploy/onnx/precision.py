"""The precision in which ONNX Runtime runs each layer, read from the graph that it optimizes for this processor."""

import re

import onnx
import onnxruntime

from srquant.deploy.layer_precision import INTEGER, LayerPrecision
from srquant.deploy.onnx.session import ERRORS_ONLY
from srquant.temporary_folders import temporary_folder

LAYER_OPERATIONS = ("Conv", "ConvInteger", "ConvTranspose", "Gemm", "MatMul", "MatMulInteger")

INTEGER_OPERATIONS = ("QLinearConv", "ConvInteger", "QLinearMatMul", "MatMulInteger", "MatMulIntegerToFloat", "QGemm")


def layer_precisions(model: onnx.ModelProto) -> list[LayerPrecision]:
    """Let ONNX Runtime optimize a model and read the precision of each layer from the result.

    Args:
        model: from ``to_onnx``.

    Returns:
        ``int8`` or ``float32`` per convolution and matrix product, in the order of computation.
    """
    running = [(node.name, node.op_type) for node in optimized(model).graph.node]
    layers = [node.name for node in model.graph.node if node.op_type in LAYER_OPERATIONS]
    return [LayerPrecision(name.split(" ")[-1], _precision(name, running)) for name in layers]


def computes(node: str, layer: str) -> bool:
    """Whether a node of the optimized graph computes a layer; fusions add words before or after the layer's name."""
    return re.search(rf"(^| ){re.escape(layer)}($|_)", node) is not None


def _precision(name: str, running: list[tuple[str, str]]) -> str:
    """Precision of the layer ``name``."""
    operations = [operation for node, operation in running if computes(node, name)]
    return INTEGER if any(operation in INTEGER_OPERATIONS for operation in operations) else "float32"


def optimized(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph that ONNX Runtime runs on this processor."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    with temporary_folder() as folder:
        path = folder / "optimized.onnx"
        options.optimized_model_filepath = str(path)
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return onnx.load(path)
