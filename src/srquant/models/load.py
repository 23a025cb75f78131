"""Load a network: recognise the layout by the names of the weights, infer the sizes from their shapes."""

import inspect
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from srquant.errors import CheckpointError, suggest
from srquant.models.architectures import (
    carn,
    compact,
    edsr,
    msrresnet,
    rdn,
    rfdn,
    rlfn,
    rnet,
    rrdbnet,
    span,
    srresnet,
)
from srquant.models.architectures.attention import dat, imdtn, swinir
from srquant.models.blocks.layers import MeanShift
from srquant.models.checkpoint import read_weights
from srquant.models.checkpoint_file.allocations import Allocations
from srquant.models.checkpoint_file.containers import spellings
from srquant.models.checkpoint_file.values import check_floating
from srquant.models.layout import Architecture, Layout, Weights, register
from srquant.models.network import Argument, Network
from srquant.models.spandrel import load_with_spandrel

ARCHITECTURES = register(
    *(
        family.ARCHITECTURE
        for family in (
            edsr,
            srresnet,
            msrresnet,
            rdn,
            carn,
            rnet,
            swinir,
            imdtn,
            dat,
            rlfn,
            rfdn,
            span,
            compact,
            rrdbnet,
        )
    )
)

LARGEST = 1024
"""The largest integer argument of an architecture; larger ones mean that the file is damaged."""


def load_model(path: Path, scale: int | None = None) -> Network:
    """Load a float network from a checkpoint of a known layout, or with the package spandrel if it is installed.

    Args:
        path: PyTorch file (only plain weights are read, no code) or safetensors file.
        scale: the wanted scale; needed if a checkpoint contains several.

    Returns:
        The network in evaluation mode, float32, on the CPU.

    Raises:
        CheckpointError: unreadable, of unknown layout, incomplete, not finite, or of another scale.
    """
    weights = read_weights(path)
    weights = next((named for named in spellings(weights) if recognise(named)), weights)
    found = recognise(weights)
    if found is None:
        return _by_spandrel(path, weights, scale)
    try:
        network = _restore(*found, weights, scale)
    except (CheckpointError, KeyError, IndexError, ZeroDivisionError) as error:
        try:
            return _by_spandrel(path, weights, scale)
        except CheckpointError:
            raise CheckpointError(f"{path}: looks like {found[0].name}, but {_reason(error)}") from error
    if scale not in (None, network.facts.scale):
        raise CheckpointError(f"{path}: upscales by {network.facts.scale}, not {scale}; leave the scale out")
    return network


def _by_spandrel(path: Path, weights: Weights, scale: int | None) -> Network:
    """The network that spandrel knows, by the first spelling of the names for which there is one."""
    failures = []
    for named in spellings(weights):
        try:
            return load_with_spandrel(path, named, scale)
        except CheckpointError as error:
            failures.append(error)
    raise failures[0]


def recognise(weights: Weights) -> tuple[Architecture, Layout] | None:
    """The architecture and layout that the weights have, or None if they are unknown."""
    for architecture in ARCHITECTURES.values():
        for layout in architecture.layouts:
            if layout.fits(weights):
                return architecture, layout
    return None


def build(architecture: str, arguments: Mapping[str, Argument]) -> Network:
    """A network with random weights from ``Facts.architecture`` and ``Facts.arguments``.

    Raises:
        CheckpointError: no such architecture, or arguments that it doesn't allow.
    """
    if architecture not in ARCHITECTURES:
        raise CheckpointError(f"no architecture {architecture!r}; {suggest(architecture, ARCHITECTURES)}")
    known = ARCHITECTURES[architecture]
    for name, parameter in inspect.signature(known.module).parameters.items():
        _check_argument(architecture, name, arguments.get(name, parameter.default), parameter.default)
    try:
        return Network(known.module(**arguments), known.facts(**arguments)).eval()
    except (TypeError, ValueError, KeyError, ZeroDivisionError, RuntimeError) as error:
        raise CheckpointError(f"{architecture} can't be built with {dict(arguments)}: {error}") from error


def _check_argument(architecture: str, name: str, value: Argument, default: Argument) -> None:
    """Raise a ``CheckpointError`` unless ``value`` has the default's type, and sizes and counts are in range."""
    sizes = value if isinstance(default, list | tuple) and isinstance(value, list | tuple) else [value]
    if isinstance(default, bool | str):
        fits, need = type(value) is type(default), type(default).__name__
    elif isinstance(default, float):
        fits = isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST
        need = f"a number in -{LARGEST}..{LARGEST}"
    else:
        fits, need = all(type(size) is int and 1 <= size <= LARGEST for size in sizes), f"in 1..{LARGEST}"
    if not fits:
        raise CheckpointError(f"{architecture} can't have {name}={value!r:.80}; it must be {need}")


def describe(network: Network) -> str:
    """One line: architecture, sizes, scale, value range, mean shift, parameters."""
    facts = network.facts
    sizes = ", ".join(f"{name} {value}" for name, value in facts.arguments.items() if name != "scale")
    shift = "mean shift" if any(isinstance(m, MeanShift) for m in network.modules()) else "no mean shift"
    parameters = sum(p.numel() for p in network.parameters())
    return (
        f"{facts.architecture} x{facts.scale}{f' ({sizes})' if sizes else ''}, "
        f"RGB 0-{facts.value_range:g}, {shift}, {parameters:,} parameters"
    )


def _restore(architecture: Architecture, layout: Layout, weights: Weights, scale: int | None) -> Network:
    weights = layout.convert(weights, scale)
    with Allocations(weights):
        network = build(architecture.name, architecture.infer(weights))
    load_strictly(network.module, weights)
    return network


def load_strictly(module: nn.Module, weights: Weights) -> None:
    """Load weights of exactly the module's names and shapes; only counters of batch norms may be absent.

    Raises:
        CheckpointError: a name is missing or unexpected, a shape or type differs, or a mean shift's weight isn't the
            identity.
    """
    own = module.state_dict()
    counters = {name: tensor for name, tensor in own.items() if name.endswith("num_batches_tracked")}
    weights = counters | weights
    _refuse("misses the weights", sorted(own.keys() - weights.keys()))
    _refuse("has the unknown weights", sorted(weights.keys() - own.keys()))
    shapes = [
        f"{n} {tuple(weights[n].shape)} not {tuple(own[n].shape)}" for n in own if own[n].shape != weights[n].shape
    ]
    _refuse("has wrong shapes:", shapes)
    for name in own:
        if own[name].is_floating_point():
            check_floating(name, weights[name], "")
    module.load_state_dict(weights)
    for name, child in module.named_modules():
        if isinstance(child, MeanShift) and not torch.equal(child.weight, _identity(child.weight)):
            raise CheckpointError(f"{name}.weight is not the identity; fold its weight into the next convolution")


def _identity(weight: Tensor) -> Tensor:
    return torch.eye(3).view_as(weight)


def _refuse(complaint: str, names: list[str]) -> None:
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise CheckpointError(
            f"it {complaint} {', '.join(names[:3])}{more}; build this variant in Python and use srquant.wrap"
        )


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, CheckpointError) else f"its sizes can't be inferred ({error!r})"
