"""The quantized file: one safetensors with packed weights, float32 bounds and scales, a JSON header and a checksum.

Tensors of a layer: ``NAME.codes`` (packed at the weight's bits), ``NAME.weight_grid`` (scale, multiplier and shift,
each 1 or ``C_out`` values), ``NAME.bounds`` (lower and upper, each 1 or ``C_in`` values), ``NAME.bias``. Other
parameters of the network keep their names behind ``float.``.
"""

import hashlib
import os
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from srquant.deploy.freeze import FrozenModel, assemble, check_grids
from srquant.deploy.header import Header, LayerRecord, from_json, to_json
from srquant.deploy.packing import pack, packed_size, unpack
from srquant.deploy.parts import Bounds, LayerParts, Parts, SumParts
from srquant.errors import InputError, OutputError, QuantizedFileError
from srquant.models.layers import Add
from srquant.models.load import build
from srquant.quant.quantizers import LARGEST_INTEGER, IntegerWeight, weight_levels

HEADER, CHECKSUM, FLOAT = "srquant", "sha256", "float."
Tensors = dict[str, Tensor]


def save(model: FrozenModel, path: Path, overwrite: bool = False) -> None:
    """Write a frozen network; a file is there completely or not at all.

    Raises:
        OutputError: the file exists, or can't be written.
        InputError: the network is not one of ours, so it could not be rebuilt from a file.
    """
    if model.network.facts.architecture == "custom":
        raise InputError("a wrapped module can't be rebuilt from a file; export it to OpenVINO or ONNX instead")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists; pass --overwrite to replace it")
    header = to_json(_header(model))
    tensors = _tensors(model)
    metadata = {HEADER: header, CHECKSUM: checksum(header, tensors)}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        save_file(tensors, temporary, metadata)
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(f"can't write {path}: {error}; choose another place") from error


def load(path: Path) -> FrozenModel:
    """Read a quantized file.

    Raises:
        QuantizedFileError: it is damaged, from another version, or contradicts itself.
    """
    header, tensors = _read(path)
    records = {record.name: record for record in header.layers}
    parts = {name: _parts(record, tensors) for name, record in records.items()}
    with torch.device("meta"):
        network = build(header.architecture, header.arguments)
    for name, part in parts.items():
        _check_place(name, part, dict(network.module.named_modules()))
        check_grids(name, part)
    frozen = assemble(network, header.policy, header.origin, parts)
    _load_floats(frozen, {k.removeprefix(FLOAT): v for k, v in tensors.items() if k.startswith(FLOAT)})
    return frozen


def is_quantized_file(path: Path) -> bool:
    """Whether a file claims to be written by ``save``."""
    try:
        with safe_open(path, "pt") as file:
            return HEADER in (file.metadata() or {})
    except (OSError, SafetensorError):
        return False


def checksum(header: str, tensors: Tensors) -> str:
    """SHA-256 over the header and every tensor's name, type, shape and bytes, in the order of the names."""
    digest = hashlib.sha256(header.encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"|{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def _header(model: FrozenModel) -> Header:
    facts = model.network.facts
    records = tuple(_record(name, part) for name, part in model.parts.items())
    return Header(facts.architecture, facts.arguments, model.policy, model.origin, records)


def _record(name: str, part: Parts) -> LayerRecord:
    if isinstance(part, SumParts):
        return LayerRecord(name, part.bounds.bits, scale=part.scale)
    shape = tuple(part.weight.codes.shape)
    return LayerRecord(name, part.bounds.bits, part.lattice, part.weight_bits, shape, part.window)


def _tensors(model: FrozenModel) -> Tensors:
    tensors: Tensors = {}
    for name, part in model.parts.items():
        tensors[f"{name}.bounds"] = torch.stack([part.bounds.lower, part.bounds.upper])
        if isinstance(part, LayerParts):
            tensors[f"{name}.codes"] = pack(part.weight.codes, part.weight_bits)
            tensors[f"{name}.weight_grid"] = _weight_grid(part.weight)
            if part.bias is not None:
                tensors[f"{name}.bias"] = part.bias
    frozen = tuple(f"{name}." for name in model.parts)
    floats = model.network.module.state_dict().items()
    tensors |= {f"{FLOAT}{key}": value for key, value in floats if not key.startswith(frozen)}
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def _weight_grid(weight: IntegerWeight) -> Tensor:
    grid = torch.stack([weight.scale, weight.multiplier.float(), weight.shift.float()])
    return grid[:, :1] if bool((grid == grid[:, :1]).all()) else grid


def _read(path: Path) -> tuple[Header, Tensors]:
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if not {HEADER, CHECKSUM} <= set(metadata):
                raise QuantizedFileError(f"{path} has no header of srquant; it was not written by 'srquant quantize'")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise QuantizedFileError(f"can't read {path}: {error}; quantize the network again") from error
    header = from_json(metadata[HEADER])
    if checksum(metadata[HEADER], tensors) != metadata[CHECKSUM]:
        raise QuantizedFileError(f"{path} is damaged: its checksum doesn't fit; quantize the network again")
    return header, tensors


def _parts(record: LayerRecord, tensors: Tensors) -> Parts:
    lower, upper = _tensor(tensors, f"{record.name}.bounds", torch.float32).unbind()
    bounds = Bounds(lower, upper, record.activation_bits)
    if record.weight_bits is None:
        return SumParts(bounds, record.scale)
    if lower.dim() and lower.numel() != _inputs(record):
        raise QuantizedFileError(
            f"layer {record.name!r}: {lower.numel()} pairs of bounds for {_inputs(record)} channels"
        )
    weight = _integer_weight(record, record.weight_bits, tensors)
    bias = None
    if f"{record.name}.bias" in tensors:
        bias = _tensor(tensors, f"{record.name}.bias", torch.float32, (record.shape[0],))
    return LayerParts(bounds, weight, record.weight_bits, bias, record.window, record.lattice)


def _inputs(record: LayerRecord) -> int:
    return record.shape[1] * (1 if record.window is None else record.window.groups)


def _integer_weight(record: LayerRecord, bits: int, tensors: Tensors) -> IntegerWeight:
    count, rows = int(np.prod(record.shape, dtype=object)), record.shape[0]
    packed = _tensor(tensors, f"{record.name}.codes", torch.uint8, (packed_size(count, bits),))
    grid = _tensor(tensors, f"{record.name}.weight_grid", torch.float32)
    if grid.dim() != 2 or grid.shape[0] != 3 or grid.shape[1] not in (1, rows):
        raise QuantizedFileError(
            f"layer {record.name!r}: weight_grid of shape {tuple(grid.shape)}, need 3 x 1 or {rows}"
        )
    scale, multiplier, shift = grid.expand(3, rows).contiguous()
    last = multiplier * (weight_levels(bits) - 1) + shift
    if not bool(((multiplier >= 1) & (shift >= -LARGEST_INTEGER) & (last <= LARGEST_INTEGER)).all()):
        raise QuantizedFileError(f"layer {record.name!r}: weights outside -{LARGEST_INTEGER}..{LARGEST_INTEGER}")
    codes = unpack(packed, bits, record.shape)
    return IntegerWeight(codes, scale, multiplier.to(torch.int16), shift.to(torch.int16))


def _tensor(tensors: Tensors, name: str, dtype: torch.dtype, shape: tuple[int, ...] | None = None) -> Tensor:
    if name not in tensors:
        raise QuantizedFileError(f"tensor {name!r} is missing; quantize the network again")
    tensor = tensors[name]
    if tensor.dtype != dtype or (shape is not None and tuple(tensor.shape) != shape):
        found = f"{tensor.dtype} {tuple(tensor.shape)}"
        raise QuantizedFileError(f"tensor {name!r} is {found}, need {dtype} {shape or ''}; quantize the network again")
    return tensor


def _check_place(name: str, part: Parts, modules: dict[str, nn.Module]) -> None:
    module = modules.get(name)
    if isinstance(part, SumParts):
        fits = isinstance(module, Add)
    else:
        kind = nn.Linear if part.window is None else nn.Conv2d
        fits = isinstance(module, kind) and tuple(module.weight.shape) == tuple(part.weight.codes.shape)
    if not fits:
        raise QuantizedFileError(f"layer {name!r} doesn't fit the network ({module}); quantize the network again")


def _load_floats(model: FrozenModel, tensors: Tensors) -> None:
    module = model.network.module
    frozen = tuple(f"{name}." for name in model.parts)
    expected = {key for key in module.state_dict() if not key.startswith(frozen)}
    if expected != set(tensors):
        raise QuantizedFileError(f"float tensors don't fit the network: {sorted(expected ^ set(tensors))[:4]}")
    try:
        module.load_state_dict(tensors, strict=False, assign=True)
    except RuntimeError as error:
        raise QuantizedFileError(f"float tensors don't fit the network: {error}") from error
    module.requires_grad_(False)
