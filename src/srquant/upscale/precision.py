"""Which quantized layers an engine computes in float."""

from srquant.deploy.freeze import FrozenModel
from srquant.quant.branches import MIDDLE
from srquant.upscale.branching import BranchingEngine
from srquant.upscale.engines import Engine, OnnxRuntimeEngine, OpenVINOEngine

INTEGER = "int8"


def float_layers(engine: Engine, model: FrozenModel) -> tuple[str, ...] | None:
    """Names of the quantized layers that the engine doesn't compute in integers; None for PyTorch, which can't tell.

    Args:
        engine: runs the model.
        model: frozen.
    """
    precisions = _precisions(engine.branch(MIDDLE) if isinstance(engine, BranchingEngine) else engine)
    if precisions is None:
        return None
    return tuple(name for name in model.parts if precisions.get(name, INTEGER) != INTEGER)


def _precisions(engine: Engine) -> dict[str, str] | None:
    if isinstance(engine, OpenVINOEngine):
        from srquant.deploy import precision

        return {layer.name: layer.precision for layer in precision.layer_precisions(engine.model)}
    if isinstance(engine, OnnxRuntimeEngine):
        from srquant.deploy import onnx_precision
        from srquant.deploy.onnx import to_onnx

        return {layer.name: layer.precision for layer in onnx_precision.layer_precisions(to_onnx(engine.network))}
    return None
