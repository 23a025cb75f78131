"""Collect the bounds of all activations in one pass over the calibration batches."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from srquant.devices import full_float32
from srquant.errors import DatasetError
from srquant.grids.range_rules import Bounds, Momentum, Rule, RunningBounds
from srquant.insertion.plan import SIDES, QuantizationPlan
from srquant.models.hooks import watch_inputs, watch_outputs
from srquant.models.network import Network, device_of, on_device_of

ActivationBounds = dict[str, Bounds]
"""Bounds by name: of a layer's input, of an add's sum, of a matmul's operands (``NAME.left``, ``NAME.right``);
in the shape of ``ActivationQuantizer``'s arguments."""

BLACK_AND_WHITE = torch.stack([torch.zeros(3, 32, 32), torch.ones(3, 32, 32)])
"""A black and a white picture: the darkest and brightest possible pixels, ``2 x 3 x 32 x 32``."""


@dataclass(frozen=True)
class Collection:
    """How bounds are collected.

    Attributes:
        rule: bounds of one batch.
        momentum: of the moving average over batches; None takes the outermost bounds.
        picture_rule: for the inputs of the first layers, outermost over batches and a black and a white picture; None
            treats them like all others.
        rules: by the name of an activation, used there instead of ``rule``.
    """

    rule: Rule
    momentum: Momentum
    picture_rule: Rule | None = None
    rules: Mapping[str, Rule] = field(default_factory=dict)

    def start(self, name: str, levels: int, is_picture: bool = False) -> RunningBounds:
        """Bounds of one activation before the first batch."""
        if is_picture and self.picture_rule is not None:
            return RunningBounds(self.picture_rule, levels, None)
        return RunningBounds(self.rules.get(name, self.rule), levels, self.momentum)


@torch.no_grad()
@full_float32()
def activation_bounds(
    network: Network, plan: QuantizationPlan, batches: Iterable[Tensor], collect: Collection
) -> ActivationBounds:
    """Bounds of every activation that ``plan`` quantizes, collected in the float network.

    Args:
        network: the float network.
        plan: of this network.
        batches: ``N x 3 x H x W`` in [0, 1]; one is in memory at a time.
        collect: how bounds are collected.

    Raises:
        DatasetError: a batch is not finite, there is none, or an activation is zero everywhere.
    """
    head = network.facts.head
    running = {name: collect.start(name, 2**bits, name in head) for name, bits in plan.activations().items()}
    pictures = {name for name in running if name in head and collect.picture_rule is not None}
    others = {*plan.layers, *plan.sums, *plan.matmuls} - pictures
    network.eval()
    with _updated(running, network, plan, pictures):
        if pictures:
            network(BLACK_AND_WHITE.to(device_of(network)))
        with _updated(running, network, plan, others):
            _run(network, batches)
    _refuse_all_zero(running)
    modules = dict(network.module.named_modules())
    return {name: _shaped(modules.get(name), *bounds.bounds()) for name, bounds in running.items()}


@contextmanager
def _updated(
    running: Mapping[str, RunningBounds], network: Network, plan: QuantizationPlan, names: Iterable[str]
) -> Iterator[None]:
    """Update the bounds of the named layers, sums and matrix products whenever the network runs."""
    modules = {name: network.module.get_submodule(name) for name in names}
    by_channel = plan.policy.activation_granularity == "channel"

    def see_sum(name: str, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        running[name].update((output.relu() if name in plan.rectified else output).reshape(1, -1))

    def see_inputs(name: str, inputs: tuple[Tensor, ...]) -> None:
        if name in plan.matmuls:
            for side, operand in zip(SIDES, inputs, strict=True):
                running[f"{name}.{side}"].update(operand.reshape(1, -1))
        else:
            running[name].update(channel_rows(modules[name], inputs[0]) if by_channel else inputs[0].reshape(1, -1))

    sums = {name: module for name, module in modules.items() if name in plan.sums}
    readers = {name: module for name, module in modules.items() if name not in plan.sums}
    with watch_outputs(sums, see_sum), watch_inputs(readers, see_inputs):
        yield


def channel_rows(layer: nn.Module, x: Tensor) -> Tensor:
    """The input of a layer as ``channels x values``."""
    return x.movedim(-1 if isinstance(layer, nn.Linear) else 1, 0).flatten(1)


def _shaped(module: nn.Module | None, lower: Tensor, upper: Tensor) -> Bounds:
    if lower.numel() == 1:
        return lower.reshape(()), upper.reshape(())
    shape = (-1,) if isinstance(module, nn.Linear) else (-1, 1, 1)
    return lower.reshape(shape), upper.reshape(shape)


def _refuse_all_zero(running: Mapping[str, RunningBounds]) -> None:
    names = [name for name, bounds in running.items() if bounds.all_zero]
    if names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        raise DatasetError(
            f"the activation of {names[0]!r}{more} is zero on all calibration pictures, so it has no range: "
            "give other pictures, or keep the layer float with an override"
        )


def _run(network: Network, batches: Iterable[Tensor]) -> None:
    count = 0
    for batch in on_device_of(network, batches):
        if not bool(torch.isfinite(batch).all()):
            raise DatasetError(f"calibration batch {count} has values that are not finite; remove that picture")
        network(batch)
        count += 1
    if count == 0:
        raise DatasetError("no calibration batch: give at least one picture")
