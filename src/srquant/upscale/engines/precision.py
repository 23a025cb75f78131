"""Which quantized layers an engine computes in float."""

from srquant.deploy.frozen.freeze import FrozenModel
from srquant.insertion.branched_network import MIDDLE
from srquant.measure.cost.layer_summaries import layer_summaries
from srquant.upscale.engines.branching import BranchingEngine
from srquant.upscale.engines.engines import Engine, OnnxRuntimeEngine, OpenVINOEngine

INTEGER = "int8"


def float_layers(engine: Engine, model: FrozenModel) -> tuple[str, ...]:
    """Names of the quantized layers that the engine doesn't compute in integers.

    PyTorch computes the same numbers in float; for it, those whose ranges are dynamic, which no engine has in integers.

    Args:
        engine: runs the model.
        model: frozen.
    """
    running = engine.branch(MIDDLE) if isinstance(engine, BranchingEngine) else engine
    precisions = _precisions(running)
    return tuple(name for name in model.specs if precisions.get(name, INTEGER) != INTEGER)


def _precisions(engine: Engine) -> dict[str, str]:
    if isinstance(engine, OpenVINOEngine):
        from srquant.deploy.openvino import precision

        return {layer.name: layer.precision for layer in precision.layer_precisions(engine.model)}
    if isinstance(engine, OnnxRuntimeEngine):
        from srquant.deploy.onnx import precision as onnx_precision
        from srquant.deploy.onnx.model import to_onnx

        return {layer.name: layer.precision for layer in onnx_precision.layer_precisions(to_onnx(engine.network))}
    return {layer.name: "float32" for layer in layer_summaries(engine.network) if layer.ranges == "dynamic"}
