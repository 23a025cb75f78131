"""Network -> OpenVINO model, float or with real integer convolutions."""

from pathlib import Path

import openvino
import torch
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder
from torch import fx

from srquant.deploy.export.pair_saturation import has_vnni
from srquant.deploy.export.program import export_graph
from srquant.deploy.export.record import WEIGHTS
from srquant.deploy.export.refusals import not_converted
from srquant.deploy.export.rewrites import join_requantization
from srquant.deploy.export.tokens.moves import move_bytes
from srquant.deploy.openvino.channels_of_tokens import give_four_axes
from srquant.deploy.openvino.operators import extensions
from srquant.deploy.openvino.remainders import replace_remainders
from srquant.errors import OutputError
from srquant.file_owners import owning
from srquant.files import file_digest, remove_stale, replace_together, temporary
from srquant.models.graph.quiet import quiet
from srquant.models.graph.trace import takes_one
from srquant.models.network import Network

CHANNELS = 3


def to_openvino(network: Network, pair_saturation: bool | None = None) -> openvino.Model:
    """Export a float or frozen network.

    Args:
        network: its convolutions are ``nn.Conv2d`` or ``FrozenConv2d``.
        pair_saturation: whether the target processor lacks VNNI; None: as on this processor. Layers that would saturate
            there are exported in float.

    Returns:
        A model with input ``image`` ``N x 3 x H x W`` float32 in [0, 1], all of N, H, W dynamic, and output
        ``upscaled``; N is 1 where the network's steps depend on it. Compile it with ``float_precision.cpu_options``.

    Raises:
        EngineError: a part of the network can't be exported to OpenVINO.
    """
    saturates = not has_vnni() if pair_saturation is None else pair_saturation
    graph = export_graph(network.eval(), saturates)
    join_requantization(graph)
    move_bytes(graph)
    replace_remainders(graph)
    try:
        model = _converted(graph, saturates)
    except Exception as error:
        raise not_converted(graph, "OpenVINO", error) from error
    give_four_axes(model)
    model.reshape([1 if takes_one(graph.graph) else -1, CHANNELS, -1, -1])
    model.input(0).tensor.set_names({"image"})
    model.output(0).tensor.set_names({"upscaled"})
    return model


def _converted(graph: fx.GraphModule, saturates: bool) -> openvino.Model:
    """The front end without ``openvino.convert_model`` around it, which starts a process to report its use."""
    front_end = FrontEndManager().load_by_framework("pytorch")
    for extension in extensions(saturates):
        front_end.add_extension(extension)
    with quiet():
        decoder = TorchFXPythonDecoder(graph, input_types=[torch.float32], dynamic_shapes=True)
        return front_end.convert(front_end.load(decoder))


def save_openvino(model: openvino.Model, path: Path) -> None:
    """Write ``path`` (.xml), with a digest of its weights, and the weights beside it (.bin).

    Raises:
        OutputError: the files can't be written.
    """
    if not path.parent.is_dir():
        raise OutputError(f"can't write {path}: {path.parent} is no folder; create it")
    weights = path.with_suffix(".bin")
    remove_stale(path.parent, path)
    remove_stale(path.parent, weights)
    try:
        with owning(path.parent) as owner, temporary(path, owner) as graph, temporary(weights, owner) as beside:
            openvino.save_model(model, graph, compress_to_fp16=False)
            model.set_rt_info(file_digest(beside), WEIGHTS)
            openvino.save_model(model, graph, compress_to_fp16=False)
            replace_together({weights: beside, path: graph})
    except (OSError, RuntimeError) as error:
        raise OutputError(f"can't write {path}: {error}; choose another place") from error
