"""Symmetric grids of several bits, one learned bound each, of which every picture takes one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from srquant.grids.uniform import fake_quantize
from srquant.insertion.policy import check_bits
from srquant.models.hooks import watch_inputs
from srquant.quantizers.by_picture import ConditionalQuantizer, Pictures

SMALLEST = 1e-6
"""Bounds don't get below this."""


class CandidateQuantizer(ConditionalQuantizer):
    """Grids ``{-n..n} * bound/n``, ``n = 2**(bits-1) - 1``, one per candidate; a subclass says which a sample takes.

    Args:
        candidates: bits, 2..8, ascending.

    Attributes:
        bounds: one for each candidate.
    """

    needs_pictures = True

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
    def pictures(self) -> Pictures:
        """The pictures in work."""
        assert self.current.pictures is not None, "the network must show its pictures, see ConditionalNetwork"
        return self.current.pictures

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


@contextmanager
def noted_flags(quantizers: Sequence[CandidateQuantizer]) -> Iterator[list[Tensor]]:
    """While a batch goes through a network, note the candidates that its samples take: ``N`` int64 per quantizer."""
    flags = [torch.zeros(0, dtype=torch.int64) for _ in quantizers]

    def note(i: int, inputs: tuple[Tensor, ...]) -> None:
        flags[i] = quantizers[i].flags(*inputs)

    with watch_inputs(dict(enumerate(quantizers)), note):
        yield flags
