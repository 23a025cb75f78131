"""Which quantized layers an engine computes in float."""

from srquant.deploy.freeze import FrozenModel
from srquant.quant.branches import MIDDLE
from srquant.upscale.branching import BranchingEngine
from srquant.upscale.engines import Engine, OpenVINOEngine

INTEGER = "int8"


def float_layers(engine: Engine, model: FrozenModel) -> tuple[str, ...] | None:
    """Names of the quantized layers that the engine doesn't compute in integers; None where it can't tell.

    Args:
        engine: runs the model; OpenVINO tells.
        model: frozen.
    """
    engine = engine.branch(MIDDLE) if isinstance(engine, BranchingEngine) else engine
    if not isinstance(engine, OpenVINOEngine):
        return None
    from srquant.deploy.precision import layer_precisions

    precisions = {layer.name: layer.precision for layer in layer_precisions(engine.model)}
    return tuple(name for name in model.parts if precisions.get(name, INTEGER) != INTEGER)
