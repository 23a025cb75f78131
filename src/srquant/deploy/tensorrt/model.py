"""Network -> ONNX model for TensorRT, for pictures of one size."""

import onnx
import onnx_ir
import onnx_ir.passes.common as passes
from onnxscript.optimizer import fold_constants

from srquant.deploy.export.program import export_graph, program_of_size
from srquant.deploy.layer_precision import INTEGER, LayerPrecision
from srquant.deploy.onnx.model import checked, converted
from srquant.deploy.tensorrt.known_operators import check_operators
from srquant.deploy.tensorrt.operators import SignedOperators
from srquant.deploy.tensorrt.signed_codes import sign_codes
from srquant.models.network import Network


def to_tensorrt(network: Network, height: int, width: int) -> onnx.ModelProto:
    """Export a float or frozen network.

    Args:
        network: as ``to_onnx``.
        height: of the pictures, which the network can take.
        width: of the pictures.

    Returns:
        A checked model with ``input`` ``1 x 3 x height x width`` float32 in [0, 1] and ``output``
        ``1 x 3 x scale*height x scale*width``.

    Raises:
        EngineError: a part of the network can't be exported to ONNX, or TensorRT doesn't know an operator.
    """
    graph = export_graph(network.eval())
    sign_codes(graph)
    exported = program_of_size(graph, height, width)
    operators = SignedOperators(exported)
    program = converted(graph, exported, operators.table())
    operators.floats.name_layers()
    tidy(program.model)
    model = checked(graph, program.model_proto)
    check_operators(model)
    return model


def tidy(model: onnx_ir.Model) -> None:
    """Fold what depends on sizes, keep one of equal nodes, and store constants as initializers."""
    fold_constants(model)
    passes.CommonSubexpressionEliminationPass()(model)
    passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    passes.RemoveUnusedNodesPass()(model)


def layer_precisions(model: onnx.ModelProto) -> list[LayerPrecision]:
    """What a model asks TensorRT for: ``int8`` where both operands of a layer come from DequantizeLinear."""
    dequantized = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    layers = [node for node in model.graph.node if node.op_type in ("Conv", "MatMul")]
    return [
        LayerPrecision(node.name.split(" ")[-1], INTEGER if dequantized.issuperset(node.input[:2]) else "float32")
        for node in layers
    ]
