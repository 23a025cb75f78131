"""The quantized file: one safetensors with packed weights, float32 bounds and scales, a JSON header and a checksum.

Tensors of a layer: ``NAME.codes`` (packed at the weight's bits), ``NAME.weight_grid`` (scale, multiplier and shift,
each 1 or ``C_out`` values), ``NAME.bounds`` (lower and upper, each 1 or ``C_in`` values), ``NAME.edges`` (of the
regions of a piecewise linear grid), ``NAME.shift`` (of its input channels), ``NAME.bias``. Of a quantizer that depends
on its input or on the picture: ``NAME.quantizer.KEY``. Of a matrix product, or of a sum whose addends are on grids: the
same with the prefixes ``NAME.left.`` and ``NAME.right.``. Other parameters of the network have the prefix ``float.``.
``sha256`` is the checksum: a tensor, because the order of metadata entries differs from file to file.
"""

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, fx

from srquant.deploy.file.graph_record import graph_in_file, record_of_graph
from srquant.deploy.file.header import Header, OtherVersion, from_json, to_json
from srquant.deploy.file.module_records import record_of, tensors_of
from srquant.deploy.file.restore import FLOAT, THRESHOLDS, restore
from srquant.deploy.frozen.freeze import FrozenModel
from srquant.errors import InputError, OutputError, QuantizedFileError
from srquant.files import replacing
from srquant.insertion.branched_network import BranchedNetwork
from srquant.insertion.depth_network import depths_of
from srquant.models.checkpoint_file.limits import header_problem
from srquant.models.network import CUSTOM, bytes_of

Tensors = dict[str, Tensor]

HEADER, CHECKSUM = "srquant", "sha256"

NEXT_STEP = "copy the file again, or quantize the network again"


def save(model: FrozenModel, path: Path, overwrite: bool = False) -> None:
    """Write a frozen network; where writing fails, there is no file, or the old one.

    Raises:
        OutputError: the file exists, or can't be written.
        InputError: the network was wrapped and has an operator or a layer that files have no form for.
        EngineError: it was wrapped, and what it does depends on the values in the picture.
    """
    graph = graph_in_file(model) if model.network.facts.architecture == CUSTOM else None
    header, tensors = to_json(_header(model, graph)), _tensors(model, graph)
    tensors[CHECKSUM] = checksum(header, tensors)
    try:
        if path.exists() and not overwrite:
            raise OutputError(f"{path} exists; pass --overwrite to replace it")
        with replacing(path) as written:
            save_file(tensors, written, {HEADER: header})
    except (OSError, SafetensorError) as error:
        raise OutputError(f"can't write {path}: {error}; choose another place") from error


def load(path: Path) -> FrozenModel:
    """Read a quantized file.

    Raises:
        QuantizedFileError: it is damaged, from another version, or contradicts itself.
    """
    text, tensors = _read(path)
    try:
        header = from_json(text)
        _check(text, tensors)
        return restore(header, tensors)
    except OtherVersion as error:
        raise QuantizedFileError(f"{path} can't be used: {error}") from error
    except InputError as error:
        raise QuantizedFileError(f"{path} can't be used: {error}; {NEXT_STEP}") from error


def is_quantized_file(path: Path) -> bool:
    """Whether a file has the header that ``save`` writes."""
    try:
        if header_problem(path) is not None:
            return False
        with safe_open(path, "pt") as file:
            return HEADER in (file.metadata() or {})
    except (OSError, SafetensorError):
        return False


def size_of(model: FrozenModel) -> int:
    """Bytes of the tensors that a file of the network holds."""
    return sum(tensor.nbytes for tensor in _tensors(model).values())


def checksum(header: str, tensors: Tensors) -> Tensor:
    """SHA-256 over the header and every tensor's name, type, shape and bytes, in the order of the names: 32 uint8."""
    digest = hashlib.sha256(header.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"|{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(bytes_of(tensor))
    return torch.tensor(list(digest.digest()), dtype=torch.uint8)


def _header(model: FrozenModel, graph: fx.GraphModule | None) -> Header:
    facts, network = model.network.facts, model.network
    records = tuple(record_of(name, spec) for name, spec in model.specs.items())
    nodes = None if graph is None else record_of_graph(model, graph)
    return Header(facts.architecture, facts.arguments, model.policy, model.origin, records, depths_of(network), nodes)


def _tensors(model: FrozenModel, graph: fx.GraphModule | None = None) -> Tensors:
    tensors = {key: value for name, spec in model.specs.items() for key, value in tensors_of(name, spec).items()}
    frozen = tuple(f"{name}." for name in model.specs)
    floats = (graph or model.network.module).state_dict().items()
    tensors |= {f"{FLOAT}{key}": value for key, value in floats if not key.startswith(frozen)}
    if isinstance(model.network, BranchedNetwork):
        tensors[THRESHOLDS] = model.network.thresholds
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def _read(path: Path) -> tuple[str, Tensors]:
    """The text of the header and all tensors."""
    try:
        problem = header_problem(path)
        if problem is not None:
            raise ValueError(problem)
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if HEADER not in metadata:
                raise QuantizedFileError(f"{path} has no header of srquant: give a file that 'srquant quantize' wrote")
            return metadata[HEADER], {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise QuantizedFileError(f"can't read {path}: {error}; check the path, or quantize again") from error


def _check(header: str, tensors: Tensors) -> None:
    """Remove the checksum and compare it with that of the header and the other tensors."""
    found = tensors.pop(CHECKSUM, None)
    if found is None or not torch.equal(found, checksum(header, tensors)):
        raise QuantizedFileError(f"it is damaged: tensor {CHECKSUM!r} is not the checksum of its content")
