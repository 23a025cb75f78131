"""Export graph -> an engine's graph, node by node, through a ``Backend``."""

from itertools import accumulate, pairwise
from operator import attrgetter
from typing import Any

from torch import fx
from torch.fx.node import map_arg

from srquant.deploy.export.backend import Backend, V, floats
from srquant.deploy.export.emit_functions import FUNCTIONS
from srquant.deploy.export.emit_modules import MODULES
from srquant.deploy.export.trace import SPLITS, TRANSPOSITIONS, layer_name
from srquant.errors import EngineError


def translate(graph: fx.GraphModule, backend: Backend[V], image: V) -> V:
    """Build a graph in ``backend``.

    Args:
        graph: from ``export_graph``.
        backend: where to build.
        image: the graph's input there.

    Returns:
        The graph's output there.

    Raises:
        EngineError: a layer or function that can't be exported.
    """
    values: dict[fx.Node, Any] = {}
    for node in graph.graph.nodes:
        arguments = map_arg(node.args, values.__getitem__)
        if node.op == "placeholder":
            values[node] = image
        elif node.op == "get_attr":
            values[node] = backend.constant(floats(attrgetter(str(node.target))(graph)))
        elif node.op == "call_module":
            values[node] = _module(graph, backend, node, arguments)
        elif node.target in SPLITS:
            values[node] = _split(backend, node, arguments[0])
        elif node.target in TRANSPOSITIONS:
            values[node] = backend.transpose(
                arguments[0], _swapped(len(node.meta["tensor_meta"].shape), *node.args[1:])
            )
        elif node.op != "output":
            values[node] = _function(backend, node, arguments, map_arg(node.kwargs, values.__getitem__))
    result: V = values[graph.graph.output_node().all_input_nodes[0]]
    return result


def _module(graph: fx.GraphModule, backend: Backend[V], node: fx.Node, arguments: tuple[Any, ...]) -> Any:
    module = graph.get_submodule(str(node.target))
    emit = MODULES.get(type(module))
    if emit is None:
        raise _unknown(f"layer '{layer_name(node)}' ({type(module).__name__})")
    return emit(backend, module, layer_name(node), *arguments)


def _function(backend: Backend[V], node: fx.Node, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
    name = getattr(node.target, "__name__", str(node.target))
    emit = FUNCTIONS.get(name)
    if emit is None:
        raise _unknown(f"function '{name}'")
    try:
        return emit(backend, *arguments, **options)
    except TypeError as error:
        raise _unknown(f"function '{name}' with these arguments ({error})") from error


def _split(backend: Backend[V], node: fx.Node, x: V) -> list[V]:
    parts = node.meta["tensor_meta"]
    given: Any = [*node.args[2:], *node.kwargs.values(), 0][0]
    axis = given % len(parts[0].shape)
    if axis not in (1, len(parts[0].shape) - 1):
        raise _unknown(f"a split along another axis than channels ({node.format_node()})")
    ends = list(accumulate(int(part.shape[axis]) for part in parts))
    return [backend.part(x, axis, start, end) for start, end in pairwise([0, *ends])]


def _swapped(axes: int, first: int, second: int) -> list[int]:
    """The order of axes after two are swapped."""
    order = list(range(axes))
    order[first], order[second] = order[second], order[first]
    return order


def _unknown(what: str) -> EngineError:
    return EngineError(f"{what} has no form in OpenVINO and ONNX exports; engine 'torch' runs it")
