"""Header and tensors of a quantized file -> frozen network; everything is checked before it is used."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from srquant.deploy.file.graph_record import network_of
from srquant.deploy.file.header import Header
from srquant.deploy.file.module_records import read_module
from srquant.deploy.file.version3 import from_version_3
from srquant.deploy.frozen.branches import BranchesSpec
from srquant.deploy.frozen.freeze import FrozenModel, assemble, check_spec
from srquant.errors import QuantizedFileError
from srquant.insertion.branched_network import branches_of
from srquant.insertion.depth_network import DepthNetwork, replace_skipped_blocks
from srquant.models.load import build
from srquant.models.network import Network
from srquant.quantizers.module_spec import ModuleSpec
from srquant.quantizers.stored import StoredTensors

FLOAT = "float."
"""Prefix of the names of tensors that belong to no frozen module."""

THRESHOLDS = "thresholds"
"""Name of the tensor of two gradient densities; a picture whose density lies between them adds no bits."""


def restore(header: Header, tensors: dict[str, Tensor]) -> FrozenModel:
    """The network that a header and its tensors describe.

    Raises:
        InputError: they contradict each other or the architecture.
    """
    stored = StoredTensors(dict(tensors))
    network = _without_weights(header, tensors)
    depths = _depths(header, network)
    specs = _specs(header, dict(network.module.named_modules()), stored)
    for name, spec in specs.items():
        check_spec(name, spec)
    frozen = assemble(network, header.policy, header.origin, specs, _thresholds(specs, stored))
    _load_floats(frozen, stored)
    return frozen if len(depths) < 2 else replace(frozen, network=DepthNetwork(frozen.network, depths))


def _specs(header: Header, modules: Mapping[str, nn.Module], stored: StoredTensors) -> dict[str, ModuleSpec]:
    specs: dict[str, ModuleSpec] = {}
    unread = dict(modules)
    for values in header.modules:
        record = from_version_3(values, modules) if header.version == 3 else values
        name, spec = read_module(record, unread, stored)
        specs[name] = spec
        del unread[name]
    return specs


def _depths(header: Header, network: Network) -> dict[int, tuple[str, ...]]:
    """Blocks that run at each depth; those that run at none are left out of the network, in place."""
    for names in header.depths:
        if not names or not set(names) <= set(header.depths[0]) or not set(names) <= set(network.facts.blocks):
            raise QuantizedFileError(
                f"header: field 'depths' has blocks {list(names)[:4]}, which don't fit the network"
            )
    depths = {len(names): names for names in header.depths}
    if list(depths) != sorted(depths, reverse=True) or len(depths) != len(header.depths):
        raise QuantizedFileError(
            f"header: field 'depths' has {list(map(len, header.depths))} blocks, not in order: need fewer each time"
        )
    if depths:
        replace_skipped_blocks(network, header.depths[0])
    return depths


def _thresholds(specs: Mapping[str, ModuleSpec], stored: StoredTensors) -> Tensor | None:
    """The two gradient densities that decide between branches; None where no layer's bits depend on the picture."""
    grids = (grid for spec in specs.values() for grid in spec.grids.values())
    if THRESHOLDS not in stored.tensors and not any(grid.kind == BranchesSpec.kind for grid in grids):
        return None
    thresholds = stored.take(THRESHOLDS, torch.float32, (2,))
    if not bool(thresholds[0] <= thresholds[1]):
        raise QuantizedFileError(
            f"tensor {THRESHOLDS!r} is {thresholds.tolist()}, not in order: need the lower density first"
        )
    return thresholds


def _without_weights(header: Header, tensors: Mapping[str, Tensor]) -> Network:
    if header.graph is not None:
        floats = {name.removeprefix(FLOAT): tensor for name, tensor in tensors.items() if name.startswith(FLOAT)}
        return network_of(header.graph, floats)
    with torch.device("meta"), _at_most(len(tensors)):
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


def _load_floats(model: FrozenModel, stored: StoredTensors) -> None:
    module = model.network.module
    frozen = tuple(f"{name}." for name in model.specs)
    expected = {key: own for key, own in module.state_dict().items() if not key.startswith(frozen)}
    floats = {key: stored.take(f"{FLOAT}{key}", own.dtype, tuple(own.shape)) for key, own in expected.items()}
    if stored.tensors:
        raise QuantizedFileError(f"tensors {sorted(stored.tensors)[:4]} belong to no module of the network")
    for network in branches_of(model.network):
        network.module.load_state_dict(floats, strict=False, assign=True)
    model.network.requires_grad_(False)
