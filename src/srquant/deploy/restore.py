"""Header and tensors of a quantized file -> frozen network; everything is checked before it is used."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from srquant.deploy.freeze import FrozenModel, assemble, check_grids
from srquant.deploy.header import Header, LayerRecord
from srquant.deploy.lowered import Window
from srquant.deploy.packing import packed_size, unpack
from srquant.deploy.parts import Bounds, LayerParts, MatmulParts, Parts, SumParts, window_of
from srquant.deploy.piecewise import Pieces
from srquant.errors import QuantizedFileError
from srquant.models.layers import Add, Matmul
from srquant.models.load import build
from srquant.models.network import Network
from srquant.quant.branches import branches_of
from srquant.quant.quantizers import LARGEST_INTEGER, IntegerWeight, weight_levels

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
    modules = dict(network.module.named_modules())
    parts = {record.name: _parts(record, modules.get(record.name), left) for record in header.layers}
    for name, part in parts.items():
        check_grids(name, part)
    frozen = assemble(network, header.policy, header.origin, parts, _thresholds(header, left))
    _load_floats(frozen, left)
    return frozen


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
        left = _bounds(f"{record.name}.left", record.activation_bits, tensors, (2,))
        right = _bounds(f"{record.name}.right", record.right_bits, tensors, (2,))
        return MatmulParts(left, right, record.lattice)
    if record.weight_bits is None:
        return SumParts(_bounds(record.name, record.activation_bits, tensors, (2,)), record.scale)
    rows, inputs = record.shape[0], record.shape[1] * (1 if record.window is None else record.window.groups)
    shapes = ((2,),) if record.dynamic or record.region_levels else ((2,), (2, inputs))
    bounds = _bounds(record.name, record.activation_bits, tensors, *shapes)
    if record.branch_bits:
        bounds = replace(bounds, branch_bits=record.branch_bits)
    if record.region_levels:
        edges = _take(tensors, f"{record.name}.edges", torch.float32, (len(record.region_levels) + 1,))
        bounds = replace(bounds, pieces=Pieces(edges, record.region_levels))
    weight = _integer_weight(record, record.weight_bits, tensors)
    has_bias = getattr(module, "bias", None) is not None
    bias = _take(tensors, f"{record.name}.bias", torch.float32, (rows,)) if has_bias else None
    return LayerParts(bounds, weight, record.weight_bits, bias, record.window, record.lattice, record.dynamic)


def _fits(record: LayerRecord, module: nn.Module | None) -> bool:
    if record.right_bits is not None:
        return isinstance(module, Matmul) and record.weight_bits is None
    if record.weight_bits is None:
        return isinstance(module, Add) and record.scale == module.scale
    if not isinstance(module, nn.Conv2d | nn.Linear):
        return False
    window: Window | None = window_of(module) if isinstance(module, nn.Conv2d) else None
    return tuple(module.weight.shape) == record.shape and window == record.window


def _bounds(name: str, bits: int, tensors: Tensors, *shapes: tuple[int, ...]) -> Bounds:
    lower, upper = _take(tensors, f"{name}.bounds", torch.float32, *shapes).unbind()
    return Bounds(lower, upper, bits)


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
