"""QuantSR (Qin et al., NeurIPS 2023): redistribution-driven quantizers, one network of several depths.

1. Every layer that the policy quantizes gets learned steps for weight and input and a learned shift of each input
   channel (RLQ); steps start at 2 mean|v| / sqrt(largest code) of the first batch, shifts at 0.
2. Shortcuts of residual blocks get a learned factor s, starting at 1.
3. Stage 1: L1 to the true pictures at full depth.
4. Blocks are ordered by what their branch adds to the stream: mean |branch| / |s x|. A depth keeps the first ones.
5. Stage 2: every step runs the batch at all depths; the losses are averaged. A skipped block gives s x.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from srquant.distillation.loop import Rate
from srquant.distillation.losses import output_loss
from srquant.errors import PolicyError
from srquant.insertion.depth_network import DepthNetwork
from srquant.insertion.insert_quantizers import require_quantizable
from srquant.insertion.plan import QuantizationPlan, resolve
from srquant.insertion.policy import Policy
from srquant.insertion.quantized_model import QuantizedModel
from srquant.insertion.settle_on_lattice import settle
from srquant.methods.options import option, text_of
from srquant.methods.quantsr.fold_shortcuts import fold_shortcuts
from srquant.methods.quantsr.learned_layers import LearnedLayer, LearnedMatmul, start_activations
from srquant.methods.quantsr.rlq import LearnedStep
from srquant.methods.quantsr.skippable import importances, make_skippable, running, skippable_blocks, unwrap_blocks
from srquant.methods.quantsr.statistics import gradient_change, parameter_statistics
from srquant.methods.ranges.pipeline import origin_of
from srquant.models.blocks.layers import Matmul
from srquant.models.network import Network
from srquant.training.learning_rates import limited_rates
from srquant.training.student import Plan, Student

EPOCHS = 300
FEWEST = 4
"""Blocks of the shallowest network, unless blocks are as large as those with attention."""


@dataclass(frozen=True)
class QuantSR:
    """Options of ``quantsr``."""

    redistribution: bool = option(True, "bend the gradient of rounding; false gives LSQ with shifts", "section 3.2")
    k: float = option(1.0, "bend of the redistribution, above 0", "code; another implementation has 2")
    depths: tuple[int, ...] | None = option(
        None, "blocks of each network; none: all, half, and a quarter", "section 3.3"
    )
    dqa_keep: Literal["exact", "code"] = option(
        "exact", "blocks of shallower networks: their depth or, as code, 1 more", "ours"
    )
    drop_order: Literal["branch", "shortcut"] = option("branch", "keep large branches, or small shortcuts", "ours")
    joint_from: int = option(150, f"epoch of {EPOCHS} from which all depths are trained", "ours")
    learning_rate: float = option(2e-4, "of weights and shortcuts", "BasicSR's EDSR")
    most_change: float = option(0.01, "limit of those rates: part of a tensor's mean magnitude in a step", "ours")
    step_change: float | None = option(
        0.005, "rate of steps and shifts, part of the first step; none: as weights", "ours"
    )
    halve_every: int = option(200, f"epochs of {EPOCHS}; epochs are shares of the run", "BasicSR's EDSR")


class QuantSRStudent(Student):
    """A network with learned quantizers and skippable blocks.

    Args:
        network: float; changed in place.
        crops: first batches, ``N x 3 x H x W`` in [0, 1].
        policy: which layers, and their bits.
        config: the method's options.
        steps: of the whole run.
    """

    def __init__(self, network: Network, crops: Sequence[Tensor], policy: Policy, config: QuantSR, steps: int) -> None:
        super().__init__(network)
        self.crops, self.policy, self.config = crops, policy, config
        self.plan = Plan(steps, EPOCHS)
        self.depths = depths_of(network, config)
        insert_learned(network, resolve(network, policy), config)
        make_skippable(network)
        start_activations(network, crops[0])
        self.order: Tensor
        self.register_buffer("order", torch.full((len(network.facts.blocks),), -1))
        self.gradient_change = torch.zeros(())

    def forward(self, low: Tensor, high: Tensor, step: int) -> Tensor:
        """L1 to the true pictures: at full depth in stage 1, mean over the depths in stage 2."""
        if len(self.depths) == 1 or self.plan.epoch(step) < self.config.joint_from:
            return output_loss(self.network(low), high)
        if int(self.order[0]) < 0:
            self.order.copy_(self.ordered())
        return torch.stack(list(self.losses(low, high))).mean()

    def losses(self, low: Tensor, high: Tensor) -> Iterator[Tensor]:
        """One loss for each depth."""
        for kept in self.kept().values():
            with running(self.network, kept):
                yield output_loss(self.network(low), high)

    def kept(self) -> dict[int, tuple[str, ...]]:
        """The blocks that run at each depth, in the network's order."""
        names = self.network.facts.blocks
        order = self.ordered() if int(self.order[0]) < 0 else self.order
        first = {depth: set(order[:depth].tolist()) for depth in self.depths}
        return {depth: tuple(n for i, n in enumerate(names) if i in first[depth]) for depth in self.depths}

    def ordered(self) -> Tensor:
        """Indices of the blocks, those that stay longest first."""
        if self.config.drop_order == "shortcut":
            worth = [-abs(block.factor()) for block in skippable_blocks(self.network).values()]
        else:
            worth = list(importances(self.network, (crop.to(self.order.device) for crop in self.crops)).values())
        return torch.tensor(worth).argsort(descending=True, stable=True).to(self.order.device)

    def rates(self) -> Iterable[Rate]:
        """One rate for weights and shortcuts, less where those are small; of steps and shifts relative to the step."""
        config = self.config
        quantizers = [module for module in self.network.modules() if isinstance(module, LearnedStep)]
        theirs = {id(p) for quantizer in quantizers for p in quantizer.parameters()}
        others = [p for p in self.network.parameters() if id(p) not in theirs]
        rates = limited_rates(others, config.learning_rate, config.most_change)
        if config.step_change is None:
            return [*rates, Rate([p for q in quantizers for p in q.parameters()], config.learning_rate)]
        return [*rates, *(Rate(list(q.parameters()), config.step_change * q.step.item()) for q in quantizers)]

    def rate_factor(self, step: int) -> float:
        """Halved as the config says."""
        return self.plan.halved(step, self.config.halve_every)

    @torch.no_grad()
    def after_backward(self) -> None:
        """Note what redistribution did to the gradients of the weights."""
        if self.config.redistribution:
            self.gradient_change = gradient_change(self.network)

    def logged(self) -> Mapping[str, float]:
        """Statistics of the learned parameters and effect on gradients, see ``srquant.methods.quantsr.statistics``."""
        factors = {f"shortcut.{name}": block.factor() for name, block in skippable_blocks(self.network).items()}
        return {**parameter_statistics(self.network), "gradient_change": self.gradient_change.item(), **factors}

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Keep steps positive."""
        for module in self.network.modules():
            if isinstance(module, LearnedStep):
                module.keep_apart()

    def result(self) -> QuantizedModel:
        """The network with fixed bounds on its lattice and plain shortcuts."""
        network = deployable(self.network)
        settle(network)
        if len(self.depths) > 1:
            network = DepthNetwork(network, self.kept())
        return QuantizedModel(network, self.policy, origin_of("quantsr", self.config))


def prepare(network: Network, crops: Sequence[Tensor], policy: Policy, config: QuantSR, steps: int) -> QuantSRStudent:
    """Insert learned quantizers into a copy of the network; arguments as ``trained_registry.Prepare``."""
    if policy.skip_bits is not None:
        raise PolicyError("quantsr keeps the sums of residual blocks in float; leave skip_bits out")
    student = copy.deepcopy(network).train().requires_grad_(True)
    return QuantSRStudent(student, crops, policy, config, steps)


def insert_learned(network: Network, plan: QuantizationPlan, config: QuantSR) -> None:
    """Replace the layers that the plan quantizes, in place.

    Raises:
        PolicyError: a layer has no deployable form.
    """
    bend = config.k if config.redistribution else 0.0
    for name, bits in plan.layers.items():
        layer = network.module.get_submodule(name)
        network.module.set_submodule(name, LearnedLayer(require_quantizable(name, layer), bits, bend))
    for name, product_bits in plan.matmuls.items():
        matmul = network.module.get_submodule(name)
        assert isinstance(matmul, Matmul)
        network.module.set_submodule(name, LearnedMatmul(matmul, product_bits, bend))


def depths_of(network: Network, config: QuantSR) -> tuple[int, ...]:
    """Numbers of blocks at which a network is trained, largest first.

    Raises:
        PolicyError: the network has no such blocks.
    """
    blocks = len(network.facts.blocks)
    if config.depths is None:
        fewest = 1 if any(isinstance(module, Matmul) for module in network.modules()) else FEWEST
        wanted = [blocks, *(blocks // part for part in (2, 4) if blocks // part >= fewest)]
    else:
        wanted = sorted({*config.depths, blocks}, reverse=True)
        if wanted[0] > blocks or wanted[-1] < 1:
            raise PolicyError(f"depths {text_of(config.depths)}: the network has {blocks} blocks that can be skipped")
    extra = config.dqa_keep == "code"
    return (wanted[0], *(min(depth + extra, blocks) for depth in wanted[1:]))


def deployable(network: Network) -> Network:
    """A copy with fixed bounds and plain shortcuts, not settled."""
    network = copy.deepcopy(network).requires_grad_(False).eval()
    for name, module in list(network.module.named_modules()):
        if isinstance(module, LearnedLayer | LearnedMatmul):
            network.module.set_submodule(name, module.deployable())
    fold_shortcuts(network, unwrap_blocks(network))
    return network.requires_grad_(False)
