"""DQA, the depth-dynamic quantized architecture (QuantSR, section 3.3).

Residual blocks can be skipped in training, and the shortcut of each has a learned factor ``s``.
"""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from srquant.models.hooks import watch_outputs
from srquant.models.network import Network


class SkippableBlock(nn.Module):
    """``s * x + branch(x)``, or ``s * x`` where the block is skipped.

    Args:
        block: ``x + branch(x)``.
        learned: whether ``s`` is learned; otherwise it stays 1.
    """

    def __init__(self, block: nn.Module, learned: bool) -> None:
        super().__init__()
        self.block = block
        self.shortcut = nn.Parameter(torch.ones(())) if learned else None
        self.skipped = False

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same."""
        if self.skipped:
            return x if self.shortcut is None else self.shortcut * x
        whole: Tensor = self.block(x)
        return whole if self.shortcut is None else whole + (self.shortcut - 1) * x

    def factor(self) -> float:
        """``s``."""
        return 1.0 if self.shortcut is None else self.shortcut.item()


def make_skippable(network: Network) -> None:
    """Wrap the residual blocks of a network, in place.

    Their shortcuts get learned factors only where a single layer reads the last block, as only there the factors can be
    folded away afterwards.
    """
    for name in network.facts.blocks:
        block = SkippableBlock(network.module.get_submodule(name), network.facts.behind_blocks is not None)
        network.module.set_submodule(name, block)


def unwrap_blocks(network: Network) -> dict[str, float]:
    """Replace the wrappers by the blocks inside, in place; returns the factors of the shortcuts by block name."""
    blocks = skippable_blocks(network)
    for name, block in blocks.items():
        network.module.set_submodule(name, block.block)
    return {name: block.factor() for name, block in blocks.items()}


def skippable_blocks(network: Network) -> dict[str, SkippableBlock]:
    """Wrapped blocks by name, in order."""
    modules = network.module.named_modules()
    return {name: module for name, module in modules if isinstance(module, SkippableBlock)}


@contextmanager
def only_blocks(network: Network, kept: Collection[str]) -> Iterator[None]:
    """Skip all blocks but the named ones inside the ``with`` statement."""
    blocks = skippable_blocks(network)
    for name, block in blocks.items():
        block.skipped = name not in kept
    try:
        yield
    finally:
        for block in blocks.values():
            block.skipped = False


@torch.no_grad()
def branch_shares(network: Network, batches: Iterable[Tensor]) -> dict[str, float]:
    """How much each block changes its input: mean of ``|branch| / |s x|`` over pictures, L2 norms.

    Args:
        network: with skippable blocks.
        batches: ``N x 3 x H x W`` in [0, 1], at least one.
    """
    blocks = skippable_blocks(network)
    ratios: dict[str, list[Tensor]] = {name: [] for name in blocks}

    def see(name: str, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        identity = blocks[name].factor() * inputs[0]
        branch = (output - identity).flatten(1).norm(dim=1)
        ratios[name].append(branch / identity.flatten(1).norm(dim=1).clamp(min=1e-12))

    with watch_outputs(blocks, see):
        for images in batches:
            network(images)
    return {name: float(torch.cat(values).mean()) for name, values in ratios.items()}
