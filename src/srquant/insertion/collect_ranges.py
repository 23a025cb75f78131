"""Collect the bounds of all activations in one pass over the calibration batches."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from srquant.errors import DatasetError
from srquant.grids.range_rules import Bounds, Momentum, Rule, RunningBounds
from srquant.insertion.plan import SIDES, QuantizationPlan
from srquant.models.blocks.layers import Add
from srquant.models.network import Network

ActivationBounds = dict[str, Bounds]
"""Bounds by name: of a layer's input, of an add's sum, of a matmul's operands (``NAME.left``, ``NAME.right``);
shaped as ``ActivationQuantizer`` wants them."""

BLACK_AND_WHITE = torch.stack([torch.zeros(3, 32, 32), torch.ones(3, 32, 32)])
"""Two pictures that hold the darkest and brightest pixels there are."""


@dataclass(frozen=True)
class Collection:
    """How bounds are collected.

    Attributes:
        rule: bounds of one batch.
        momentum: of the moving average over batches; None takes the outermost bounds.
        picture_rule: for the inputs of the first layers, outermost over batches and black and white; None treats
            them like all others.
        rules: of single activations by name, instead of ``rule``.
    """

    rule: Rule
    momentum: Momentum
    picture_rule: Rule | None = None
    rules: Mapping[str, Rule] = field(default_factory=dict)

    def start(self, name: str, levels: int, is_picture: bool = False) -> RunningBounds:
        """Bounds of one activation that has seen no batch yet."""
        if is_picture and self.picture_rule is not None:
            return RunningBounds(self.picture_rule, levels, None)
        return RunningBounds(self.rules.get(name, self.rule), levels, self.momentum)


@torch.no_grad()
def activation_bounds(
    network: Network, plan: QuantizationPlan, batches: Iterable[Tensor], collect: Collection
) -> ActivationBounds:
    """Bounds of every activation that ``plan`` quantizes, seen in the float network.

    Args:
        network: the float network.
        plan: of this network.
        batches: ``N x 3 x H x W`` in [0, 1]; one is held at a time.
        collect: how.

    Raises:
        DatasetError: a batch is not finite, there is none, or an activation is zero everywhere.
    """
    running = {
        name: collect.start(name, 2**bits, name in network.facts.head) for name, bits in plan.activations().items()
    }
    by_channel = plan.policy.activation_granularity == "channel"
    handles: list[torch.utils.hooks.RemovableHandle] = []

    def watch(names: Iterable[str]) -> None:
        for name in names:
            module = network.module.get_submodule(name)
            handles.append(_watch(module, running[name], by_channel, name in plan.rectified))

    heads = [name for name in running if name in network.facts.head and collect.picture_rule is not None]
    network.eval()
    try:
        if heads:
            watch(heads)
            network(BLACK_AND_WHITE)
        watch(name for name in (*plan.layers, *plan.sums) if name not in heads)
        handles += [_watch_operands(network, name, running) for name in plan.matmuls]
        _run(network, batches)
    finally:
        for handle in handles:
            handle.remove()
    _refuse_all_zero(running)
    modules = dict(network.module.named_modules())
    return {name: _shaped(modules.get(name), *bounds.bounds()) for name, bounds in running.items()}


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


def _watch_operands(
    network: Network, name: str, running: dict[str, RunningBounds]
) -> torch.utils.hooks.RemovableHandle:
    def see(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        for side, operand in zip(SIDES, inputs, strict=True):
            running[f"{name}.{side}"].update(operand.reshape(1, -1))

    return network.module.get_submodule(name).register_forward_pre_hook(see)


def _shaped(module: nn.Module | None, lower: Tensor, upper: Tensor) -> Bounds:
    if lower.numel() == 1:
        return lower.reshape(()), upper.reshape(())
    shape = (-1,) if isinstance(module, nn.Linear) else (-1, 1, 1)
    return lower.reshape(shape), upper.reshape(shape)


def _refuse_all_zero(running: Mapping[str, RunningBounds]) -> None:
    all_zero = [name for name, bounds in running.items() if bounds.all_zero]
    if all_zero:
        more = f" and {len(all_zero) - 1} more" if len(all_zero) > 1 else ""
        raise DatasetError(
            f"the activation of {all_zero[0]!r}{more} is zero on all calibration pictures, so it has no range: "
            "give other pictures, or keep the layer float with an override"
        )


def _run(network: Network, batches: Iterable[Tensor]) -> None:
    count = 0
    for batch in batches:
        if not bool(torch.isfinite(batch).all()):
            raise DatasetError(f"calibration batch {count} has values that are not finite; remove that picture")
        network(batch)
        count += 1
    if count == 0:
        raise DatasetError("no calibration batch: give at least one picture")
