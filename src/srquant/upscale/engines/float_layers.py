"""Which quantized layers an engine computes in float."""

from srquant.deploy.frozen.freeze import FrozenModel
from srquant.upscale.engines.protocol import Engine


def quantized_layers_in_float(engine: Engine, model: FrozenModel) -> tuple[str, ...]:
    """Names of the quantized layers that the engine doesn't compute in integers, in the model's order.

    Args:
        engine: runs the model.
        model: frozen.
    """
    floats = engine.float_layers()
    return tuple(name for name in model.specs if name in floats)
