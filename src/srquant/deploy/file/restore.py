"""Header and tensors of a quantized file -> frozen network; everything is checked before it is used."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from srquant.deploy.export.nodes import Window
from srquant.deploy.file.header import Header, LayerRecord, QuantizerRecord
from srquant.deploy.file.packing import packed_size, unpack
from srquant.deploy.file.quantizer_kinds import KINDS, made
from srquant.deploy.frozen.freeze import FrozenModel, assemble, check_grids
from srquant.deploy.frozen.layer_spec import (
    AddendsParts,
    Bounds,
    ConditionalParts,
    LayerParts,
    MatmulParts,
    Parts,
    SumParts,
    deployable,
    window_of,
)
from srquant.deploy.frozen.piecewise import Pieces
from srquant.errors import QuantizedFileError
from srquant.insertion.branched_network import branches_of
from srquant.insertion.depth_network import DepthNetwork, replace_skipped_blocks
from srquant.models.blocks.layers import Add, Matmul
from srquant.models.load import build
from srquant.models.network import Network
from srquant.quantizers.base import LARGEST_INTEGER, IntegerWeight, weight_levels
from srquant.quantizers.by_picture import ConditionalQuantizer

FLOAT = "float."
"""Before the names of tensors that belong to no frozen layer."""

THRESHOLDS = "thresholds"
"""Name of the two gradient densities between which a picture adds no bits."""

Tensors = dict[str, Tensor]


def restore(header: Header, tensors: Tensors) -> FrozenModel:
    """The network that a header and its tensors describe.

    Raises:
        InputError: they contradict each other or the architecture.
    """
    left = dict(tensors)
    network = _without_weights(header, len(tensors))
    depths = _depths(header, network)
    modules = dict(network.module.named_modules())
    parts = {record.name: _parts(record, modules.get(record.name), left) for record in header.layers}
    for name, part in parts.items():
        check_grids(name, part)
    frozen = assemble(network, header.policy, header.origin, parts, _thresholds(header, left))
    _load_floats(frozen, left)
    return frozen if len(depths) < 2 else replace(frozen, network=DepthNetwork(frozen.network, depths))


def _depths(header: Header, network: Network) -> dict[int, tuple[str, ...]]:
    """Blocks that run at each depth; those that run at none are left out of the network, in place."""
    for names in header.depths:
        if not names or not set(names) <= set(header.depths[0]) or not set(names) <= set(network.facts.blocks):
            raise QuantizedFileError(f"blocks {list(names)[:4]} of a depth don't fit the network")
    depths = {len(names): names for names in header.depths}
    if list(depths) != sorted(depths, reverse=True) or len(depths) != len(header.depths):
        raise QuantizedFileError(f"depths {list(map(len, header.depths))} are not in order")
    if depths:
        replace_skipped_blocks(network, header.depths[0])
    return depths


def _thresholds(header: Header, tensors: Tensors) -> Tensor | None:
    """Densities that choose the branch; None where no layer's bits depend on the picture."""
    if THRESHOLDS not in tensors and not any(record.branch_bits for record in header.layers):
        return None
    thresholds = _take(tensors, THRESHOLDS, torch.float32, (2,))
    if not bool(thresholds[0] <= thresholds[1]):
        raise QuantizedFileError(f"thresholds of the gradient density are {thresholds.tolist()}, not in order")
    return thresholds


def _without_weights(header: Header, most_parameters: int) -> Network:
    with torch.device("meta"), _at_most(most_parameters):
        return build(header.architecture, header.arguments)


@contextmanager
def _at_most(parameters: int) -> Iterator[None]:
    """Stop a network from growing beyond what a file has tensors for."""
    count = 0

    def watch(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        nonlocal count
        count += 1
        if count > parameters:
            raise ValueError(f"it has more than {parameters} parameters, the number of tensors in the file")

    handle = register_module_parameter_registration_hook(watch)
    try:
        yield
    finally:
        handle.remove()


def _parts(record: LayerRecord, module: nn.Module | None, tensors: Tensors) -> Parts:
    if not _fits(record, module):
        raise QuantizedFileError(f"layer {record.name!r} ({record}) doesn't fit the network ({module})")
    if record.right_bits is not None:
        return _two_operands(record, record.right_bits, isinstance(module, Add), tensors)
    if record.weight_bits is None:
        return SumParts(_bounds(record, "", record.activation_bits, tensors, (2,)), record.scale)
    inputs = record.shape[1] * (1 if record.window is None else record.window.groups)
    if record.quantizer is not None and record.weight_bits is not None:
        quantizer = _quantizer(record.name, record.quantizer, record.activation_bits, inputs, tensors)
        weight = _integer_weight(record, record.weight_bits, tensors)
        bias = _bias(record, module, tensors)
        return ConditionalParts(quantizer, weight, record.weight_bits, bias, record.window)
    shapes = ((2,),) if record.dynamic or record.region_levels or record.shifted else ((2,), (2, inputs))
    bounds = _bounds(record, "", record.activation_bits, tensors, *shapes)
    if record.branch_bits:
        bounds = replace(bounds, branch_bits=record.branch_bits)
    if record.region_levels:
        edges = _take(tensors, f"{record.name}.edges", torch.float32, (len(record.region_levels) + 1,))
        bounds = replace(bounds, pieces=Pieces(edges, record.region_levels))
    if record.shifted:
        shift = _take(tensors, f"{record.name}.shift", torch.float32, (inputs,))
        bounds = replace(bounds, shift=shift)
    weight = _integer_weight(record, record.weight_bits, tensors)
    bias = _bias(record, module, tensors)
    return LayerParts(bounds, weight, record.weight_bits, bias, record.window, record.lattice, record.dynamic)


def _two_operands(record: LayerRecord, right_bits: int, adds: bool, tensors: Tensors) -> Parts:
    sides: list[Bounds | ConditionalQuantizer] = []
    for side, bits, described in (
        (".left", record.activation_bits, record.quantizer),
        (".right", right_bits, record.right_quantizer),
    ):
        if described is None:
            sides.append(_bounds(record, side, bits, tensors, (2,)))
        elif adds:
            sides.append(_quantizer(f"{record.name}{side}", described, bits, None, tensors))
        else:
            raise QuantizedFileError(f"matrix product {record.name!r} has an operand with a quantizer of its own")
    left, right = sides
    if isinstance(left, Bounds) and isinstance(right, Bounds) and not adds:
        return MatmulParts(left, right, record.lattice)
    return AddendsParts(left, right, record.scale)


def _fits(record: LayerRecord, module: nn.Module | None) -> bool:
    if record.weight_bits is None:
        if isinstance(module, Add):
            return record.scale == module.scale
        return isinstance(module, Matmul) and record.right_bits is not None
    if not isinstance(module, nn.Conv2d | nn.Linear) or record.right_bits is not None:
        return False
    window: Window | None = window_of(module) if isinstance(module, nn.Conv2d) else None
    return tuple(module.weight.shape) == record.shape and window == record.window


def _bounds(record: LayerRecord, side: str, bits: int, tensors: Tensors, *shapes: tuple[int, ...]) -> Bounds:
    lower, upper = _take(tensors, f"{record.name}{side}.bounds", torch.float32, *shapes).unbind()
    return Bounds(lower, upper, bits, narrow=record.narrow)


def _bias(record: LayerRecord, module: nn.Module | None, tensors: Tensors) -> Tensor | None:
    has_bias = getattr(module, "bias", None) is not None
    return _take(tensors, f"{record.name}.bias", torch.float32, (record.shape[0],)) if has_bias else None


def _quantizer(
    name: str, described: QuantizerRecord, bits: int, inputs: int | None, tensors: Tensors
) -> ConditionalQuantizer:
    """The quantizer that a record describes, with its tensors from the file; ``inputs`` are channels, where known."""
    kind = KINDS.get(described.kind)
    if kind is None:
        raise QuantizedFileError(f"layer {name!r}: this srquant knows no quantizer {described.kind!r}: update it")
    with torch.device("meta"):
        quantizer = made(kind, described.settings)
    fits = inputs is None or quantizer.channels in (None, inputs)
    if not fits or max(quantizer.candidates) != bits:
        raise QuantizedFileError(f"layer {name!r}: its quantizer {described} doesn't fit it")
    own = quantizer.state_dict()
    found = {
        key: _take(tensors, f"{name}.quantizer.{key}", value.dtype, tuple(value.shape)) for key, value in own.items()
    }
    quantizer.load_state_dict(found, assign=True)
    return deployable(quantizer)


def _integer_weight(record: LayerRecord, bits: int, tensors: Tensors) -> IntegerWeight:
    rows, levels = record.shape[0], weight_levels(bits)
    packed = _take(tensors, f"{record.name}.codes", torch.uint8, (packed_size(math.prod(record.shape), bits),))
    codes = unpack(packed, bits, record.shape)
    grid = _take(tensors, f"{record.name}.weight_grid", torch.float32, (3, 1), (3, rows))
    scale, multiplier, shift = grid.expand(3, rows).contiguous()
    whole = torch.equal(grid[1:], grid[1:].round()) and int(codes.max()) < levels
    last = multiplier * (levels - 1) + shift
    if not whole or bool(((multiplier < 1) | (shift < -LARGEST_INTEGER) | (last > LARGEST_INTEGER)).any()):
        raise QuantizedFileError(f"layer {record.name!r}: weights are no integers in ±{LARGEST_INTEGER}")
    return IntegerWeight(codes, scale, multiplier.to(torch.int16), shift.to(torch.int16))


def _take(tensors: Tensors, name: str, dtype: torch.dtype, *shapes: tuple[int, ...]) -> Tensor:
    """Remove a tensor from ``tensors``; it has one of the shapes and is finite."""
    tensor = tensors.pop(name, None)
    if tensor is None:
        raise QuantizedFileError(f"tensor {name!r} is missing")
    if tensor.dtype != dtype or tuple(tensor.shape) not in shapes:
        need = " or ".join(str(shape) for shape in shapes)
        raise QuantizedFileError(f"tensor {name!r} is {tensor.dtype} {tuple(tensor.shape)}, need {dtype} {need}")
    if not bool(torch.isfinite(tensor).all()):
        raise QuantizedFileError(f"tensor {name!r} has values that are not finite")
    return tensor


def _load_floats(model: FrozenModel, tensors: Tensors) -> None:
    module = model.network.module
    frozen = tuple(f"{name}." for name in model.parts)
    expected = {key: own for key, own in module.state_dict().items() if not key.startswith(frozen)}
    floats = {key: _take(tensors, f"{FLOAT}{key}", own.dtype, tuple(own.shape)) for key, own in expected.items()}
    if tensors:
        raise QuantizedFileError(f"tensors {sorted(tensors)[:4]} belong to nothing in the network")
    for network in branches_of(model.network):
        network.module.load_state_dict(floats, strict=False, assign=True)
    model.network.requires_grad_(False)
