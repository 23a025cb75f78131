"""A graph as JSON and back: operators from a list, layers and tensors by name, numbers; nothing that is code.

A node is ``[kind, target, arguments, options]``. In arguments, ``{"$node": NUMBER}`` is the result of an earlier node,
``{"$dtype": NAME}`` and ``{"$order": NAME}`` are a type and an order in memory, and ``{"$device": null}`` is the device
of the picture.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from srquant.errors import InputError
from srquant.models.graph.operators import name_of, operator_of

Json = Any

DTYPES = {
    str(kind).removeprefix("torch."): kind
    for kind in (torch.float32, torch.float64, torch.int32, torch.int64, torch.bool)
}

ORDERS = {
    str(order).removeprefix("torch."): order
    for order in (torch.contiguous_format, torch.preserve_format, torch.channels_last)
}

NAMED: Mapping[str, Mapping[str, Any]] = {"$dtype": DTYPES, "$order": ORDERS}

DEVICE = {"$device": None}

DEVICE_OPTION = "device"

LEFT_OUT = ("layout", "pin_memory")
"""Options of operators that say nothing about the result."""

IMAGE = "image"
"""Name of the node that is the picture."""


def to_record(graph: fx.Graph) -> list[Json]:
    """The nodes of a graph in their order.

    Raises:
        InputError: an operator isn't in the list, or an argument has no form in a file.
    """
    nodes = [node for node in graph.nodes if not _is_device(node)]
    numbers = {node: number for number, node in enumerate(nodes)}
    return [[node.op, _target(node), _to_json(node.args, numbers), _options(node, numbers)] for node in nodes]


def from_record(record: Json, parts: Mapping[str, nn.Module | Tensor]) -> fx.GraphModule:
    """The graph of a record.

    Args:
        record: from ``to_record``; not trusted.
        parts: layers and tensors by name; the graph may use these only.

    Raises:
        InputError: the record has another form, or names something that it may not.
    """
    reader = _Reader(parts)
    if not isinstance(record, list):
        raise InputError(f"graph is {record!r:.80}, need a list of nodes")
    for entry in record:
        reader.read(entry)
    kinds = [node.op for node in reader.nodes]
    if kinds.count("placeholder") != 1 or kinds.count("output") != 1 or kinds[-1] != "output":
        raise InputError(f"graph: {kinds.count('placeholder')} inputs, {kinds.count('output')} outputs, need one each")
    return fx.GraphModule(reader.used, reader.graph)


def _target(node: fx.Node) -> str:
    if node.op == "call_function":
        return name_of(node.target)
    return IMAGE if node.op == "placeholder" else str(node.target)


def _options(node: fx.Node, numbers: Mapping[fx.Node, int]) -> dict[str, Json]:
    options = {name: _to_json(value, numbers) for name, value in node.kwargs.items() if name not in LEFT_OUT}
    return options | ({DEVICE_OPTION: DEVICE} if _has_device(node.target) else {})


def _has_device(operator: Any) -> bool:
    """Whether an operator makes a tensor on a device that can be chosen."""
    arguments = operator._schema.arguments if isinstance(operator, torch._ops.OpOverload) else ()
    return any(argument.name == DEVICE_OPTION for argument in arguments)


def _is_device(node: Any) -> bool:
    """Whether a node is the device of the picture."""
    return isinstance(node, fx.Node) and node.target is getattr


def _to_json(value: Any, numbers: Mapping[fx.Node, int]) -> Json:
    if _is_device(value) or isinstance(value, torch.device):
        return DEVICE
    if isinstance(value, fx.Node):
        return {"$node": numbers[value]}
    if isinstance(value, torch.dtype):
        return {"$dtype": str(value).removeprefix("torch.")}
    if isinstance(value, torch.memory_format):
        return {"$order": str(value).removeprefix("torch.")}
    if isinstance(value, tuple | list):
        return [_to_json(part, numbers) for part in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise InputError(f"a graph with an argument of type {type(value).__name__} can't be kept in a file")


class _Reader:
    """Builds a graph node by node.

    Attributes:
        parts: layers and tensors that it may use.
        used: those that it uses.
        graph: so far.
        nodes: of the record, in their order.
        device: node that is the picture's device.
    """

    def __init__(self, parts: Mapping[str, nn.Module | Tensor]) -> None:
        self.parts = parts
        self.used: dict[str, Any] = {}
        self.graph = fx.Graph()
        self.nodes: list[fx.Node] = []
        self.device: fx.Node | None = None

    def read(self, entry: Json) -> None:
        """Add the node of an entry."""
        if not isinstance(entry, list) or [type(part) for part in entry] != [str, str, list, dict]:
            raise self._wrong(f"is {entry!r:.80}, need [kind, target, arguments, options]")
        kind, target, arguments, options = entry
        values = tuple(self._value(value) for value in arguments)
        self.nodes.append(self._node(kind, target, values, {key: self._value(value) for key, value in options.items()}))

    def _node(self, kind: str, target: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> fx.Node:
        if kind == "call_function":
            operator = operator_of(target)
            on_device = {DEVICE_OPTION: self._value(DEVICE)} if _has_device(operator) else {}
            return self.graph.call_function(operator, arguments, options | on_device)
        if kind == "placeholder":
            return self._image()
        if kind == "output" and len(arguments) == 1:
            return self.graph.create_node(kind, target, arguments)
        if kind == "call_module" and isinstance(self.parts.get(target), nn.Module):
            self.used[target] = self.parts[target]
            return self.graph.call_module(target, arguments)
        if kind == "get_attr" and isinstance(self.parts.get(target), Tensor):
            self.used[target] = self.parts[target]
            return self.graph.create_node(kind, target)
        raise self._wrong(f"is {kind[:80]!r} of {target[:80]!r}, which is nothing that the file has")

    def _image(self) -> fx.Node:
        image = self.graph.placeholder(IMAGE)
        self.device = self.graph.call_function(getattr, (image, "device"))
        return image

    def _value(self, value: Json) -> Any:
        if isinstance(value, list):
            return [self._value(part) for part in value]
        if not isinstance(value, dict):
            return value
        if value == DEVICE and self.device is not None:
            return self.device
        ((key, name),) = value.items() if len(value) == 1 else (("", None),)
        if key == "$node" and type(name) is int and 0 <= name < len(self.nodes):
            return self.nodes[name]
        if key in NAMED and isinstance(name, str) and name in NAMED[key]:
            return NAMED[key][name]
        raise self._wrong(f"has the argument {value!r:.80}: need an earlier node, a type, an order or the device")

    def _wrong(self, reason: str) -> InputError:
        return InputError(f"graph: node {len(self.nodes)} {reason}")
