"""The operators of ONNX that TensorRT's parser takes."""

import onnx

from srquant.errors import EngineError

NAMES = """
Abs Add And AveragePool BatchNormalization Cast CastLike Ceil Clip Concat Constant ConstantOfShape Conv
ConvTranspose Cos CumSum DepthToSpace DequantizeLinear Div Einsum Elu Equal Erf Exp Expand Flatten Floor Gather
GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GroupNormalization
HardSigmoid HardSwish Identity InstanceNormalization LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax
LpNormalization MatMul Max MaxPool Mean Min Mish Mod Mul Neg Not OneHot Or PRelu Pad Pow QuantizeLinear Range
Reciprocal ReduceL1 ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape
Resize Round ScatterElements ScatterND Selu Shape Sigmoid Sign Sin Size Slice Softmax Softplus Softsign
SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh Tile TopK Transpose Trilu Unsqueeze Where Xor
"""
"""Those of https://github.com/onnx/onnx-tensorrt/blob/main/docs/operators.md (TensorRT 10.15) that networks use."""

RESIZE_MODES = (b"nearest", b"linear")
"""Those of the same page."""


def check_operators(model: onnx.ModelProto) -> None:
    """Raise an ``EngineError`` that names the first node that TensorRT doesn't take."""
    known = frozenset(NAMES.split())
    for node in model.graph.node:
        modes = [given.s for given in node.attribute if node.op_type == "Resize" and given.name == "mode"]
        if node.op_type not in known or node.domain or not set(modes).issubset(RESIZE_MODES):
            operator = " ".join([node.op_type, *map(bytes.decode, modes)])
            raise EngineError(
                f"operator '{operator}' of node '{node.name}' has no form in TensorRT; export without --target "
                "tensorrt, for ONNX Runtime"
            )
