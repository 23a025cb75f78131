"""Candidate grids of a quantizer: several numbers of bits, each with its learned bound; each picture uses one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from srquant.grids.uniform import fake_quantize
from srquant.insertion.policy import check_bits
from srquant.models.hooks import watch_inputs
from srquant.quantizers.by_picture import ConditionalQuantizer, Pictures

SMALLEST = 1e-6
"""Least allowed bound."""


class CandidateQuantizer(ConditionalQuantizer):
    """One PAMS grid ``{-n..n} * alpha/n``, ``n = 2**(bits-1) - 1``, for each candidate number of bits.

    A subclass chooses the candidate of each sample by ``choose``.

    Args:
        candidates: bits, 2..8, ascending.

    Attributes:
        bounds: ``alpha`` of each candidate, ``K``.
    """

    needs_pictures = True

    def __init__(self, candidates: Sequence[int]) -> None:
        for bits in candidates:
            check_bits("candidate bits", bits)
        if len(candidates) < 2 or list(candidates) != sorted(set(candidates)):
            raise ValueError(f"candidates are {candidates}: give two or more different bits, ascending")
        super().__init__(candidates[-1])
        self.choices = tuple(candidates)
        self.bounds = nn.Parameter(torch.ones(len(candidates)))

    @property
    def candidates(self) -> tuple[int, ...]:
        """The numbers of bits to choose from."""
        return self.choices

    @property
    def pictures(self) -> Pictures:
        """The pictures that the network is computing."""
        assert self.current.pictures is not None, "the network must show its pictures, see ConditionalNetwork"
        return self.current.pictures

    def choose(self, x: Tensor) -> Tensor:
        """Index of each sample's candidate, ``N`` int64."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Values to the grid points of each sample's candidate, any shape."""
        return self.chosen_points(x, self.choose(x))

    def chosen_points(self, x: Tensor, indices: Tensor) -> Tensor:
        """Values to the grid points of given candidates; ``indices`` has one for each sample, ``N`` int64."""
        used = sorted(set(indices.tolist()))
        if len(used) == 1:
            return self.points(x, used[0])
        shaped = indices.view(-1, *[1] * (x.dim() - 1))
        result = torch.zeros_like(x)
        for candidate in used:
            result = torch.where(shaped == candidate, self.points(x, candidate), result)
        return result

    def points(self, x: Tensor, candidate: int) -> Tensor:
        """Values to the grid points of one candidate, any shape."""
        bound = self.bounds[candidate]
        return fake_quantize(x, -bound, bound, (1 << self.choices[candidate]) - 1)

    def codes(self, x: Tensor) -> Tensor:
        """``-n..n`` of each sample's candidate."""
        indices = self.choose(x)
        largest = torch.tensor([(1 << (bits - 1)) - 1 for bits in self.choices])
        steps = (self.bounds / largest)[indices].view(-1, *[1] * (x.dim() - 1))
        return (self.chosen_points(x, indices) / steps).round()

    def chosen_bits(self, x: Tensor) -> Tensor:
        """Bits of each sample, ``N`` floats."""
        return torch.tensor(self.choices, dtype=torch.float32)[self.choose(x).cpu()]

    @torch.no_grad()
    def keep_positive(self) -> None:
        """Keep all bounds above zero."""
        self.bounds.clamp_(min=SMALLEST)


@contextmanager
def recorded_choices(quantizers: Sequence[CandidateQuantizer]) -> Iterator[list[Tensor]]:
    """Record the candidates that quantizers choose in the next forward pass: ``N`` int64 indices per quantizer."""
    choices = [torch.zeros(0, dtype=torch.int64) for _ in quantizers]

    def record(i: int, inputs: tuple[Tensor, ...]) -> None:
        choices[i] = quantizers[i].choose(*inputs)

    with watch_inputs(dict(enumerate(quantizers)), record):
        yield choices
