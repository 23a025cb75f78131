"""The precision in which OpenVINO runs each layer, and where."""

from dataclasses import dataclass

import openvino

from srquant.deploy.layer_precision import INTEGER, LayerPrecision
from srquant.deploy.openvino.float_precision import FloatPrecision, cpu_options

LAYER_OPERATIONS = ("Convolution", "GroupConvolution", "MatMul")

RUNTIME_LAYERS = ("Convolution", "MatMul", "FullyConnected")
SIDE = 16
"""Side of the picture for which models are compiled: grids per channel after a linear layer need a fixed size."""

SUBGRAPH = "Subgraph"
"""Type of a node that computes a whole attention block."""

UNKNOWN = "", "unknown"
"""Node and precision of a layer that isn't found."""

PRECISIONS = {"u8": INTEGER, "i8": INTEGER, "f32": "float32", "bf16": "bfloat16", "f16": "float16"}


@dataclass(frozen=True)
class RunningLayer:
    """A layer as OpenVINO runs it.

    Attributes:
        name: in the network.
        node: the compiled node that computes it; empty if none was found.
        precision: ``int8``, ``float32``, ..., or ``unknown``.
    """

    name: str
    node: str
    precision: str


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
    compiled = openvino.compile_model(model, "CPU", cpu_options(float_precision))
    return [LayerPrecision(layer.name, layer.precision) for layer in running_layers(model, compiled)]


def running_layers(model: openvino.Model, compiled: openvino.CompiledModel) -> list[RunningLayer]:
    """One entry per convolution and matrix product of a model, in the order of computation."""
    names = [op.get_friendly_name() for op in model.get_ordered_ops() if op.get_type_name() in LAYER_OPERATIONS]
    running = _running(compiled, set(names))
    renamed = iter([node for originals, node in running if not originals & set(names)])
    known = {name: node for originals, node in running for name in originals & set(names)}
    found = {name: known[name] if name in known else next(renamed, UNKNOWN) for name in names}
    return [RunningLayer(name, *node) for name, node in found.items()]


def _running(compiled: openvino.CompiledModel, names: set[str]) -> list[tuple[set[str], tuple[str, str]]]:
    """Original names, node and precision of each compiled layer; one with a factor in its weights has another name."""
    layers = []
    for node in compiled.get_runtime_model().get_ordered_ops():
        info = {key: str(value.value) for key, value in node.get_rt_info().items()}
        originals = {name.split("/")[0] for name in info["originalLayersNames"].split(",")}
        if info["layerType"] in RUNTIME_LAYERS or (info["layerType"] == SUBGRAPH and originals & names):
            precision = info["runtimePrecision"]
            layers.append((originals, (node.get_friendly_name(), PRECISIONS.get(precision, precision))))
    return layers
