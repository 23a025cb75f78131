"""The precision in which OpenVINO runs each layer."""

import openvino

from srquant.deploy.layer_precision import INTEGER, LayerPrecision
from srquant.deploy.openvino.float_precision import FloatPrecision, cpu_options

LAYER_OPERATIONS = ("Convolution", "GroupConvolution", "MatMul")

RUNTIME_LAYERS = ("Convolution", "MatMul", "FullyConnected")
SIDE = 16
"""Side of the picture for which models are compiled: grids per channel after a linear layer need a fixed size."""

SUBGRAPH = "Subgraph"
"""Type of a node that computes a whole attention block."""

PRECISIONS = {"u8": INTEGER, "i8": INTEGER, "f32": "float32", "bf16": "bfloat16", "f16": "float16"}


def layer_precisions(
    model: openvino.Model, side: int = SIDE, float_precision: FloatPrecision = "f32"
) -> list[LayerPrecision]:
    """Compile a model for this processor, at one size, and read the precision of each layer.

    Args:
        model: from ``to_openvino``, or any that takes RGB pictures.
        side: of the picture in pixels; the model must be able to take it.
        float_precision: of what isn't quantized.

    Returns:
        One entry per convolution and matrix product, in the order of computation.
    """
    model = model.clone()
    model.reshape([1, 3, side, side])
    names = [op.get_friendly_name() for op in model.get_ordered_ops() if op.get_type_name() in LAYER_OPERATIONS]
    running = _running(openvino.compile_model(model, "CPU", cpu_options(float_precision)), set(names))
    renamed = iter([precision for originals, precision in running if not originals & set(names)])
    known = {name: precision for originals, precision in running for name in originals & set(names)}
    return [LayerPrecision(name, known[name] if name in known else next(renamed, "unknown")) for name in names]


def _running(compiled: openvino.CompiledModel, names: set[str]) -> list[tuple[set[str], str]]:
    """Original names and precision of every compiled layer; a layer with a factor fused into its weights is renamed."""
    layers = []
    for node in compiled.get_runtime_model().get_ordered_ops():
        info = {key: str(value.value) for key, value in node.get_rt_info().items()}
        originals = {name.split("/")[0] for name in info["originalLayersNames"].split(",")}
        if info["layerType"] in RUNTIME_LAYERS or (info["layerType"] == SUBGRAPH and originals & names):
            precision = info["runtimePrecision"]
            layers.append((originals, PRECISIONS.get(precision, precision)))
    return layers
