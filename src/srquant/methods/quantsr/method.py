"""QuantSR (Qin et al., NeurIPS 2023): the quantizer RLQ and the architecture DQA.

1. RLQ (redistribution-driven learnable quantizer): each layer that the policy quantizes gets a learned step ``alpha``
   for its weight, another for its input, and a learned shift ``tau`` of each input channel. ``alpha`` starts at
   2 mean|v| / sqrt(largest code) of the first batch, ``tau`` at 0. Rounding has the gradient of ``phi``.
2. DQA (depth-dynamic quantized architecture): the shortcut of each residual block gets a learned factor ``s``, first 1.
3. Stage 1: L1 between the network's pictures and the true ones, all blocks running.
4. The blocks are ordered by the size of their branch: mean |branch| / |s x|. A network of depth K keeps the first K.
5. Stage 2: each step runs the batch at all depths and averages the losses. A skipped block gives ``s x``.

=====================  ==================================================================================
in the paper           here
=====================  ==================================================================================
RLQ                    ``rlq.WeightRLQ``, ``rlq.ActivationRLQ``
phi, its derivative    ``redistribution.phi``, ``redistribution.phi_slope``
alpha, v_b             ``RLQ.alpha``
tau                    ``ActivationRLQ.tau``; in the released code ``channel_threshold``
Q_n, Q_p (LSQ)         ``RLQ.first``, ``RLQ.last``
DQA                    ``dqa.make_skippable``, ``QuantSRStudent.loss_of_depths``
learnable shortcut s   ``SkippableBlock.shortcut``
=====================  ==================================================================================
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

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
from srquant.methods.quantsr.dqa import branch_shares, make_skippable, only_blocks, skippable_blocks, unwrap_blocks
from srquant.methods.quantsr.fold_shortcuts import fold_shortcuts
from srquant.methods.quantsr.rlq import RLQ
from srquant.methods.quantsr.rlq_layers import RLQLayer, RLQMatmul, start_activations
from srquant.methods.quantsr.statistics import gradient_change, parameter_statistics
from srquant.methods.ranges.pipeline import origin_of
from srquant.models.blocks.layers import Matmul
from srquant.models.network import Network, modules_of
from srquant.training.learning_rates import limited_rates
from srquant.training.student import Plan, Student

EPOCHS = 300
FEWEST = 4
"""Blocks of the shallowest network; 1 where a block is a whole group of attention layers."""


@dataclass(frozen=True)
class QuantSR:
    """Options of ``quantsr``."""

    redistribution: bool = option(
        True, "rounding has the gradient of phi; false: straight-through, which is LSQ with tau", "section 3.2"
    )
    k: float = option(1.0, "of phi, above 0; larger values bend it more", "code; another implementation has 2")
    depths: tuple[int, ...] | None = option(
        None, "numbers of blocks of the networks; none: all, half, and a quarter", "section 3.3"
    )
    dqa_keep: Literal["exact", "code"] = option(
        "exact", "blocks of shallower networks: as many as the depth, or 1 more as in the code", "ours"
    )
    drop_order: Literal["branch", "shortcut"] = option(
        "branch", "keep the blocks with the largest branches, or with the smallest |s|", "ours"
    )
    joint_from: int = option(150, f"epoch, of {EPOCHS}, from which all depths are trained", "ours")
    learning_rate: float = option(2e-4, "of weights and shortcut factors", "BasicSR's EDSR")
    most_change: float = option(0.01, "most that a step may change a tensor, relative to its mean magnitude", "ours")
    step_change: float | None = option(
        0.005, "learning rate of alpha and tau, relative to the first alpha; none: that of weights", "ours"
    )
    halve_every: int = option(200, f"in epochs; a run of any length is divided into {EPOCHS}", "BasicSR's EDSR")


class QuantSRStudent(Student):
    """A network with RLQ quantizers and skippable blocks.

    Args:
        network: float; changed in place.
        crops: first batches, ``N x 3 x H x W`` in [0, 1].
        policy: which layers, and their bits.
        config: the method's options.
        steps: of the whole run.

    Attributes:
        order: indices of the blocks, those that are kept longest first; -1 before stage 2.
    """

    earlier_names: ClassVar[Mapping[str, str]] = {"step": "alpha", "shift": "tau", "narrowest": "smallest"}

    def __init__(self, network: Network, crops: Sequence[Tensor], policy: Policy, config: QuantSR, steps: int) -> None:
        super().__init__(network)
        self.crops, self.policy, self.config = crops, policy, config
        self.plan = Plan(steps, EPOCHS)
        self.depths = depths_of(network, config)
        insert_rlq(network, resolve(network, policy), config)
        make_skippable(network)
        start_activations(network, crops[0])
        self.order: Tensor
        self.register_buffer("order", torch.full((len(network.facts.blocks),), -1))
        self.gradient_change = torch.zeros(())

    def forward(self, low: Tensor, high: Tensor, step: int) -> Tensor:
        """L1 to the true pictures: of the full depth in stage 1, mean over all depths in stage 2."""
        if len(self.depths) == 1 or self.plan.epoch(step) < self.config.joint_from:
            return output_loss(self.network(low), high)
        if int(self.order[0]) < 0:
            self.order.copy_(self.block_order())
        return self.loss_of_depths(low, high)

    def loss_of_depths(self, low: Tensor, high: Tensor) -> Tensor:
        """Mean over the depths of the L1 loss of the network of that depth."""
        losses = []
        for kept in self.kept_blocks().values():
            with only_blocks(self.network, kept):
                losses.append(output_loss(self.network(low), high))
        return torch.stack(losses).mean()

    def kept_blocks(self) -> dict[int, tuple[str, ...]]:
        """The blocks that run at each depth, in the network's order."""
        names = self.network.facts.blocks
        order = self.block_order() if int(self.order[0]) < 0 else self.order
        first = {depth: set(order[:depth].tolist()) for depth in self.depths}
        return {depth: tuple(n for i, n in enumerate(names) if i in first[depth]) for depth in self.depths}

    def block_order(self) -> Tensor:
        """Indices of the blocks, those that are kept longest first."""
        if self.config.drop_order == "shortcut":
            worth = [-abs(block.factor()) for block in skippable_blocks(self.network).values()]
        else:
            worth = list(branch_shares(self.network, (crop.to(self.order.device) for crop in self.crops)).values())
        return torch.tensor(worth).argsort(descending=True, stable=True).to(self.order.device)

    def rates(self) -> Iterable[Rate]:
        """Rates of weights and shortcuts, limited as ``most_change`` says, and rates of ``alpha`` and ``tau``."""
        config = self.config
        quantizers = rlq_quantizers(self.network)
        learned = {id(p) for quantizer in quantizers for p in quantizer.parameters()}
        others = [p for p in self.network.parameters() if id(p) not in learned]
        rates = limited_rates(others, config.learning_rate, config.most_change)
        if config.step_change is None:
            return [*rates, Rate([p for q in quantizers for p in q.parameters()], config.learning_rate)]
        return [*rates, *(Rate(list(q.parameters()), config.step_change * q.alpha.item()) for q in quantizers)]

    def rate_factor(self, step: int) -> float:
        """Halved after every ``halve_every`` epochs."""
        return self.plan.halved(step, self.config.halve_every)

    @torch.no_grad()
    def after_backward(self) -> None:
        """Record by how much ``phi`` changed the gradients of the weights, for the log."""
        if self.config.redistribution:
            self.gradient_change = gradient_change(self.network)

    def logged(self) -> Mapping[str, float]:
        """Statistics of ``alpha`` and ``tau``, effect of ``phi`` (see ``statistics``), factors of the shortcuts."""
        factors = {f"shortcut.{name}": block.factor() for name, block in skippable_blocks(self.network).items()}
        return {**parameter_statistics(self.network), "gradient_change": self.gradient_change.item(), **factors}

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Keep every ``alpha`` positive."""
        for quantizer in rlq_quantizers(self.network):
            quantizer.keep_positive()

    def result(self) -> QuantizedModel:
        """The network with fixed bounds and without factors of shortcuts; of all depths where there are several."""
        network = deployable(self.network)
        settle(network)
        if len(self.depths) > 1:
            network = DepthNetwork(network, self.kept_blocks())
        return QuantizedModel(network, self.policy, origin_of("quantsr", self.config))


def prepare(network: Network, crops: Sequence[Tensor], policy: Policy, config: QuantSR, steps: int) -> QuantSRStudent:
    """Insert RLQ quantizers into a copy of the network; arguments as ``trained_registry.Prepare``."""
    if policy.skip_bits is not None:
        raise PolicyError("quantsr keeps the sums of residual blocks in float; leave skip_bits out")
    student = copy.deepcopy(network).train().requires_grad_(True)
    return QuantSRStudent(student, crops, policy, config, steps)


def rlq_quantizers(network: Network) -> list[RLQ]:
    """The quantizers in training, in module order."""
    return list(modules_of(network, RLQ).values())


def insert_rlq(network: Network, plan: QuantizationPlan, config: QuantSR) -> None:
    """Replace the layers that the plan quantizes by layers with RLQ quantizers, in place.

    Raises:
        PolicyError: a layer has no deployable form.
    """
    k = config.k if config.redistribution else 0.0
    for name, bits in plan.layers.items():
        layer = network.module.get_submodule(name)
        network.module.set_submodule(name, RLQLayer(require_quantizable(name, layer), bits, k))
    for name, product_bits in plan.matmuls.items():
        matmul = network.module.get_submodule(name)
        assert isinstance(matmul, Matmul)
        network.module.set_submodule(name, RLQMatmul(matmul, product_bits, k))


def depths_of(network: Network, config: QuantSR) -> tuple[int, ...]:
    """Numbers of blocks of the networks that are trained, largest first.

    Raises:
        PolicyError: a depth is below 1 or above the number of blocks.
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
    """A copy with fixed bounds and without factors of shortcuts, not settled."""
    network = copy.deepcopy(network).requires_grad_(False).eval()
    for name, module in list(network.module.named_modules()):
        if isinstance(module, RLQLayer | RLQMatmul):
            network.module.set_submodule(name, module.deployable())
    fold_shortcuts(network, unwrap_blocks(network))
    return network.requires_grad_(False)
