"""Quantized network -> frozen network: integer weights, zero points, offsets, no learnable parameters."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from srquant.deploy.frozen.branches import assemble_branches, merged
from srquant.deploy.frozen.kinds import frozen_module
from srquant.errors import PolicyError
from srquant.insertion.branched_network import BranchedNetwork, representative
from srquant.insertion.policy import Policy
from srquant.insertion.quantized_model import Origin, QuantizedModel
from srquant.models.checkpoint_file.values import magnitude_problem
from srquant.models.network import Network
from srquant.quantizers.by_picture import with_picture_access
from srquant.quantizers.layers import quant_modules
from srquant.quantizers.module_spec import LayerSpec, ModuleSpec


@dataclass(frozen=True)
class FrozenModel:
    """A deployable network of frozen modules, on the CPU.

    Attributes:
        network: with modules of ``deploy.frozen`` instead of the quantized ones.
        policy: which layers were quantized, and their bits.
        origin: how they were quantized.
        specs: what each frozen module is made of, by name.
    """

    network: Network
    policy: Policy
    origin: Origin
    specs: Mapping[str, ModuleSpec]


@torch.no_grad()
def freeze(model: QuantizedModel) -> FrozenModel:
    """The deployable form of a quantized network; computes the same up to float rounding.

    Args:
        model: left unchanged.

    Raises:
        PolicyError: the model is frozen already, or a grid's bounds are not finite, or lower and upper bound are equal.
    """
    if not isinstance(model, QuantizedModel):
        raise PolicyError(f"freeze needs a quantized model, not a {type(model).__name__}; save or export it as it is")
    network = copy.deepcopy(model.network).cpu()
    specs = specs_of(network)
    for name, spec in specs.items():
        check_spec(name, spec)
    thresholds = network.thresholds if isinstance(network, BranchedNetwork) else None
    return assemble(representative(network), model.policy, model.origin, specs, thresholds)


def specs_of(network: Network) -> dict[str, ModuleSpec]:
    """What each quantized module of a network, or of its branches, is made of."""
    if isinstance(network, BranchedNetwork):
        return merged([specs_of(branch) for branch in network.branches.values()])
    return {name: module.spec() for name, module in quant_modules(network).items()}


def assemble(
    network: Network, policy: Policy, origin: Origin, specs: Mapping[str, ModuleSpec], thresholds: Tensor | None = None
) -> FrozenModel:
    """Replace the named modules of ``network`` by the frozen ones, in place; with thresholds, in three branches."""
    network.eval().requires_grad_(False)
    if thresholds is not None:
        branched = assemble_branches(network, specs, thresholds, frozen_module)
        return FrozenModel(branched.eval(), policy, origin, specs)
    for name, spec in specs.items():
        network.module.set_submodule(name, frozen_module(spec))
    return FrozenModel(with_picture_access(network), policy, origin, specs)


def check_spec(name: str, spec: ModuleSpec) -> None:
    """Raise a ``PolicyError`` unless all values of a module are finite and at most 1e12, and all steps positive."""
    positive: dict[str, Tensor] = {"weight scale": spec.weight.scale} if isinstance(spec, LayerSpec) else {}
    for grid in spec.grids.values():
        positive |= grid.must_be_positive()
        for what, values in grid.must_be_finite().items():
            if not _finite(values):
                raise PolicyError(f"layer {name!r}: {what} is not finite; train with a lower learning rate")
    for what, values in positive.items():
        if not _finite(values) or bool((values <= 0).any()):
            found = values.flatten()[:4].tolist()
            raise PolicyError(f"layer {name!r}: {what} is {found}, must be finite and > 0; use other options")
    for what, values in _values(spec).items():
        problem = magnitude_problem(values)
        if problem is not None:
            raise PolicyError(f"layer {name!r}: {what} {problem}; use other calibration pictures or options")


def _values(spec: ModuleSpec) -> dict[str, Tensor]:
    """What files keep of a module besides its codes, by its name in messages."""
    found = {f"{prefix}{key}": value for prefix, grid in spec.grids.items() for key, value in grid.tensors().items()}
    if isinstance(spec, LayerSpec):
        found |= {"weight scale": spec.weight.scale} | ({} if spec.bias is None else {"bias": spec.bias})
    return found


def _finite(values: Tensor) -> bool:
    return bool(torch.isfinite(values).all())
