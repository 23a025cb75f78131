"""Activation bits that each layer chooses for each picture, among symmetric grids of one learned bound each.

``SelectingQuantizer`` chooses by a small linear layer (CADyQ, Hong et al., ECCV 2022), ``TableQuantizer`` by a table
over the picture's edge score (CABM, Tian et al., CVPR 2023).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from srquant.quant.adaptive import surrogate
from srquant.quant.conditional import ConditionalQuantizer, Scene, Setting
from srquant.quant.edge_table import look_up
from srquant.quant.grid import fake_quantize
from srquant.quant.policy import check_bits

SMALLEST = 1e-6
"""Bounds don't get below this."""


class CandidateQuantizer(ConditionalQuantizer):
    """Grids ``{-n..n} * bound/n``, ``n = 2**(bits-1) - 1``, one per candidate; a subclass says which a sample takes.

    Args:
        candidates: bits, 2..8, ascending.

    Attributes:
        bounds: one for each candidate.
    """

    sees_pictures = True

    def __init__(self, candidates: Sequence[int]) -> None:
        for bits in candidates:
            check_bits("candidate bits", bits)
        if len(candidates) < 2 or list(candidates) != sorted(set(candidates)):
            raise ValueError(f"candidates {candidates}: two or more, ascending")
        super().__init__(candidates[-1])
        self.choices = tuple(candidates)
        self.bounds = nn.Parameter(torch.ones(len(candidates)))

    @property
    def candidates(self) -> tuple[int, ...]:
        """The bits among which it chooses."""
        return self.choices

    @property
    def scene(self) -> Scene:
        """The pictures in work."""
        assert self.stage.scene is not None, "the network must show its pictures, see ConditionalNetwork"
        return self.stage.scene

    def flags(self, x: Tensor) -> Tensor:
        """Which candidate each sample takes, ``N`` int64."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Values to the grid points of each sample's candidate, any shape."""
        return self.chosen(x, self.flags(x))

    def chosen(self, x: Tensor, flags: Tensor) -> Tensor:
        """Values to the grid points of the candidates that ``flags``, one per sample, name."""
        kinds = sorted(set(flags.tolist()))
        if len(kinds) == 1:
            return self.points(x, kinds[0])
        shaped = flags.view(-1, *[1] * (x.dim() - 1))
        result = torch.zeros_like(x)
        for kind in kinds:
            result = torch.where(shaped == kind, self.points(x, kind), result)
        return result

    def points(self, x: Tensor, candidate: int) -> Tensor:
        """Values to the grid points of one candidate, any shape."""
        bound = self.bounds[candidate]
        return fake_quantize(x, -bound, bound, (1 << self.choices[candidate]) - 1)

    def codes(self, x: Tensor) -> Tensor:
        """``-n..n`` of each sample's candidate."""
        flags = self.flags(x)
        largest = torch.tensor([(1 << (bits - 1)) - 1 for bits in self.choices])
        steps = (self.bounds / largest)[flags].view(-1, *[1] * (x.dim() - 1))
        return (self.chosen(x, flags) / steps).round()

    def chosen_bits(self, x: Tensor) -> Tensor:
        """Bits of each sample, ``N`` floats."""
        return torch.tensor(self.choices, dtype=torch.float32)[self.flags(x).cpu()]

    @torch.no_grad()
    def keep_positive(self) -> None:
        """Keep all bounds above zero."""
        self.bounds.clamp_(min=SMALLEST)


@dataclass(frozen=True)
class Choice:
    """What a selector chose in a training step.

    Attributes:
        bits: of each sample, ``N``, whole numbers with the gradient of the expected bits.
        expected: bits weighted by the probabilities, ``N``, no gradient.
    """

    bits: Tensor
    expected: Tensor


class SelectingQuantizer(CandidateQuantizer):
    """The candidate with the highest score of a linear layer (CADyQ section 3.2).

    It sees the mean derivatives of the gray picture in x and y, times ``gradient_scale``, and the deviation of each
    channel of its input. While gradients are computed, they are those of the candidates weighted by the softmax of the
    scores, and ``take`` returns what was chosen. At first all weights are one and the largest candidate has a bias of
    one, so that it is chosen whatever comes.

    Args:
        candidates: bits, 2..8, ascending.
        features: channels of the input.
        channel_axis: 1 before a convolution, -1 before a linear layer.
        gradient_scale: for pictures in [0, 1].
    """

    kind = "cadyq"

    def __init__(
        self, candidates: Sequence[int], features: int, channel_axis: int = 1, gradient_scale: float = 1000.0
    ) -> None:
        super().__init__(candidates)
        if features < 1 or channel_axis not in (1, -1):
            raise ValueError(f"features {features}, channel_axis {channel_axis}")
        self.features = features
        self.channel_axis = channel_axis
        self.gradient_scale = gradient_scale
        self.selector = nn.Linear(features + 2, len(candidates))
        nn.init.ones_(self.selector.weight)
        nn.init.zeros_(self.selector.bias)
        nn.init.ones_(self.selector.bias[-1:])
        self.choice: Choice | None = None

    @property
    def channels(self) -> int:
        """Of the input."""
        return self.features

    def settings(self) -> dict[str, Setting]:
        """Keyword arguments of the constructor."""
        return {
            "candidates": list(self.choices),
            "features": self.features,
            "channel_axis": self.channel_axis,
            "gradient_scale": self.gradient_scale,
        }

    def scores(self, x: Tensor) -> Tensor:
        """Of each candidate for each sample, ``N x K``."""
        axes = [axis for axis in range(1, x.dim()) if axis != self.channel_axis % x.dim()]
        gradients = self.scene.gradients.to(x) * self.gradient_scale
        gradients = gradients.repeat_interleave(len(x) // len(gradients), 0)
        scores: Tensor = self.selector(torch.cat([gradients, x.detach().std(axes)], 1))
        return scores

    def flags(self, x: Tensor) -> Tensor:
        """Which candidate each sample takes, ``N`` int64."""
        return self.scores(x).argmax(1)

    def forward(self, x: Tensor) -> Tensor:
        """Values to grid points, any shape."""
        scores = self.scores(x)
        flags = scores.argmax(1)
        if not torch.is_grad_enabled():
            return self.chosen(x, flags)
        shares = scores.softmax(1)
        self.choice = self.choice_of(flags, shares)
        shaped = shares.T.view(len(self.choices), -1, *[1] * (x.dim() - 1))
        soft = sum((share * self.points(x, k) for k, share in enumerate(shaped)), torch.zeros(()))
        return surrogate(self.chosen(x, flags), soft)

    def choice_of(self, flags: Tensor, shares: Tensor) -> Choice:
        """Bits of samples that take candidates ``flags`` (``N``) with probabilities ``shares`` (``N x K``)."""
        bits = torch.tensor(self.choices, dtype=shares.dtype, device=shares.device)
        expected = shares @ bits
        return Choice(surrogate(bits[flags], expected), expected.detach())

    def take(self) -> Choice:
        """What was chosen in the last pass, and forget it."""
        assert self.choice is not None
        choice, self.choice = self.choice, None
        return choice


def bit_cost(choices: Sequence[Choice]) -> Tensor:
    """Sum over layers of bits over expected bits, mean over samples, 0-d: a gradient of the logarithm of the bits."""
    return torch.stack([(choice.bits / choice.expected).mean() for choice in choices]).sum()


class TableQuantizer(CandidateQuantizer):
    """The candidate that a table has for the picture's edge score (CABM section 3.3), see ``edge_table.look_up``.

    Args:
        candidates: bits, 2..8, ascending.
        entries: rows of the table, at least 1.

    Attributes:
        edges: int64 ``entries``, edge scores in hundredths, ascending.
        by_edge: uint8 ``entries``, a candidate each.
    """

    kind = "cabm"

    def __init__(self, candidates: Sequence[int], entries: int) -> None:
        super().__init__(candidates)
        if entries < 1:
            raise ValueError(f"a table of {entries} entries")
        self.edges: Tensor
        self.by_edge: Tensor
        self.register_buffer("edges", torch.zeros(entries, dtype=torch.int64))
        self.register_buffer("by_edge", torch.zeros(entries, dtype=torch.uint8))

    def settings(self) -> dict[str, Setting]:
        """Keyword arguments of the constructor."""
        return {"candidates": list(self.choices), "entries": len(self.edges)}

    def flags(self, x: Tensor) -> Tensor:
        """Which candidate each sample takes, ``N`` int64."""
        chosen = self.by_edge[look_up(self.edges, self.scene.edges)].long().clamp(max=len(self.choices) - 1)
        return chosen.repeat_interleave(len(x) // len(chosen))


class MappedQuantizer(SelectingQuantizer):
    """Chooses as ``SelectingQuantizer`` until ``map_to`` gives it a table, from then on by that.

    The table is part of the state, so its largest size must be known.

    Args:
        candidates: bits, 2..8, ascending.
        features: channels of the input.
        channel_axis: 1 before a convolution, -1 before a linear layer.
        gradient_scale: for pictures in [0, 1].
        capacity: most entries that the table can have.
    """

    def __init__(
        self, candidates: Sequence[int], features: int, channel_axis: int, gradient_scale: float, capacity: int
    ) -> None:
        super().__init__(candidates, features, channel_axis, gradient_scale)
        self.edges: Tensor
        self.by_edge: Tensor
        self.entries: Tensor
        self.register_buffer("edges", torch.zeros(capacity, dtype=torch.int64))
        self.register_buffer("by_edge", torch.zeros(capacity, dtype=torch.uint8))
        self.register_buffer("entries", torch.zeros((), dtype=torch.int64))

    @property
    def mapped(self) -> bool:
        """Whether it has its table."""
        return bool(self.entries > 0)

    def map_to(self, edges: Tensor, by_edge: Tensor) -> None:
        """Take a table: ``E`` edge scores in hundredths, ascending, and the candidate of each."""
        self.entries.fill_(len(edges))
        self.edges[: len(edges)] = edges
        self.by_edge[: len(edges)] = by_edge

    def table(self) -> TableQuantizer:
        """The quantizer that has nothing but the table."""
        entries = int(self.entries)
        result = TableQuantizer(self.choices, entries)
        result.edges.copy_(self.edges[:entries])
        result.by_edge.copy_(self.by_edge[:entries])
        result.bounds.data.copy_(self.bounds.detach())
        result.stage = self.stage
        return result

    def flags(self, x: Tensor) -> Tensor:
        """Which candidate each sample takes, ``N`` int64."""
        if not self.mapped:
            return super().flags(x)
        entries = int(self.entries)
        chosen = self.by_edge[look_up(self.edges[:entries], self.scene.edges)].long()
        return chosen.repeat_interleave(len(x) // len(chosen))

    def forward(self, x: Tensor) -> Tensor:
        """Values to grid points, any shape."""
        return self.chosen(x, self.flags(x)) if self.mapped else super().forward(x)


@contextmanager
def noted_flags(quantizers: Sequence[CandidateQuantizer]) -> Iterator[list[Tensor]]:
    """While a batch goes through a network, note the candidates that its samples take: ``N`` int64 per quantizer."""
    flags = [torch.zeros(0, dtype=torch.int64) for _ in quantizers]

    def watch(i: int, quantizer: CandidateQuantizer) -> torch.utils.hooks.RemovableHandle:
        def see(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            flags[i] = quantizer.flags(*inputs)

        return quantizer.register_forward_pre_hook(see)

    handles = [watch(i, quantizer) for i, quantizer in enumerate(quantizers)]
    try:
        yield flags
    finally:
        for handle in handles:
            handle.remove()
