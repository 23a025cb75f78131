"""Collect the bounds of all activations in one pass over the calibration batches."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from srquant.errors import DatasetError
from srquant.models.layers import Add
from srquant.models.network import Network
from srquant.quant.flow import trace_flow
from srquant.quant.policy import Policy
from srquant.quant.ranges import Bounds, Rule, RunningBounds

ActivationBounds = dict[str, Bounds]
"""Bounds by name: of a layer's input, or of an add's sum; shaped as ``ActivationQuantizer`` wants them."""


@torch.no_grad()
def activation_bounds(
    network: Network, policy: Policy, batches: Iterable[Tensor], rule: Rule, momentum: float | None
) -> ActivationBounds:
    """Bounds of every activation that ``policy`` quantizes, seen in the float network.

    Args:
        network: the float network.
        policy: which layers, and their bits.
        batches: ``N x 3 x H x W`` in [0, 1]; one is held at a time.
        rule: bounds of one batch.
        momentum: of the moving average over batches; None takes the outermost bounds.

    Raises:
        DatasetError: a batch is not finite, or there is none.
    """
    running = {
        name: RunningBounds(rule, 2**bits.activation, momentum) for name, bits in policy.resolve(network).items()
    }
    rectified = trace_flow(network).rectified
    if policy.skip_bits is not None:
        sums = [name for name, module in network.module.named_modules() if isinstance(module, Add)]
        running |= {name: RunningBounds(rule, 2**policy.skip_bits, momentum) for name in sums}
    by_channel = policy.activation_granularity == "channel"
    handles = [
        _watch(network.module.get_submodule(name), bounds, by_channel, name in rectified)
        for name, bounds in running.items()
    ]
    try:
        _run(network, batches)
    finally:
        for handle in handles:
            handle.remove()
    return {name: _shaped(network.module.get_submodule(name), *bounds.bounds()) for name, bounds in running.items()}


def _watch(
    module: nn.Module, bounds: RunningBounds, by_channel: bool, rectified: bool
) -> torch.utils.hooks.RemovableHandle:
    def see_sum(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        bounds.update((output.relu() if rectified else output).reshape(1, -1))

    def see_input(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        axis = -1 if isinstance(module, nn.Linear) else 1
        values = inputs[0].movedim(axis, 0).flatten(1) if by_channel else inputs[0].reshape(1, -1)
        bounds.update(values)

    if isinstance(module, Add):
        return module.register_forward_hook(see_sum)
    return module.register_forward_pre_hook(see_input)


def _shaped(module: nn.Module, lower: Tensor, upper: Tensor) -> Bounds:
    if lower.numel() == 1:
        return lower.reshape(()), upper.reshape(())
    shape = (-1,) if isinstance(module, nn.Linear) else (-1, 1, 1)
    return lower.reshape(shape), upper.reshape(shape)


def _run(network: Network, batches: Iterable[Tensor]) -> None:
    network.eval()
    count = 0
    for batch in batches:
        if not bool(torch.isfinite(batch).all()):
            raise DatasetError(f"calibration batch {count} has values that are not finite; remove that picture")
        network(batch)
        count += 1
    if count == 0:
        raise DatasetError("no calibration batch: give at least one picture")
