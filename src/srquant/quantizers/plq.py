"""Piecewise linear quantization (outlier-aware PTQ, section 3.2): most points where most values are.

A breakpoint ``bp`` splits the range: a dense region around zero, and one for outliers on each side that has any. Each
region is a uniform grid that starts where the one before ends.

    >>> fake_quantize_pieces(torch.tensor([1.0, 5.0, -20.0]), torch.tensor([-8.0, -2.0, 2.0, 8.0]), (4, 8, 4))
    tensor([ 0.8571,  6.0000, -8.0000])
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from srquant.errors import PolicyError
from srquant.grids.uniform import fake_quantize, fake_quantize_bits
from srquant.quantizers.base import ActivationQuantizer
from srquant.quantizers.grid_spec import GridSpec, UniformSpec
from srquant.quantizers.stored import Fields, Json, StoredTensors

Budget = Literal["paper", "code"]
"""Number of points: ``2**bits`` as in the paper, or ``2**(bits + 1)`` as in the released code."""

FINE_LEVELS = 256
"""Points of the uniform grid on which integer engines compute."""

PLQ_BITS = 3, 7
"""Fewest and most bits: with 2 bits two tails get one point each; with 8, all points are on the uniform grid."""

NARROWEST = 1e-3
"""A region is at least this wide, relative to the whole range."""


def region_levels(bits: int, budget: Budget, two_sided: bool) -> tuple[int, ...]:
    """Number of points of each region, both ends included, from left to right.

    The dense region has half of all points. The two tails share the other half; a single tail has all of it. Neighbours
    share an end, so there are one or two different points fewer than the sum.

    Args:
        bits: 3..7.
        budget: number of points.
        two_sided: whether there are outliers on both sides.

    Raises:
        PolicyError: ``bits`` is outside of 3..7.
    """
    fewest, most = PLQ_BITS
    if not fewest <= bits <= most:
        raise PolicyError(
            f"piecewise linear quantization with {bits} bits: it is defined from {fewest} to {most}; "
            "use 3 or more activation bits, or the option plq=false"
        )
    dense = 2 ** (bits - 1) if budget == "paper" else 2**bits
    return (dense // 2, dense, dense // 2) if two_sided else (dense, dense)


def fake_quantize_pieces(x: Tensor, edges: Tensor, levels: tuple[int, ...]) -> Tensor:
    """Replace each value by the nearest point of its region; differentiable in ``x`` and ``edges``.

    Gradients are the straight-through ones of ``grids.uniform.fake_quantize`` in each region: rounding errors go to
    both ends of a region, values outside the range to the outermost edge.

    Args:
        x: any shape, float.
        edges: ends of the regions, increasing; one more than there are regions.
        levels: points of each region, both ends included, at least 2.

    Returns:
        Shape of ``x``.
    """
    result: Tensor = _FakeQuantizePieces.apply(x, edges, levels)  # type: ignore[no-untyped-call]
    return result


@dataclass(frozen=True)
class PLQSpec(GridSpec):
    """Regions of a piecewise linear grid, and the uniform grid of 256 points to which their points are rounded.

    Attributes:
        lower: first point of the uniform grid, float32, 0-d.
        upper: its last point, 0-d.
        edges: ends of the regions, increasing, float32; one more than there are regions.
        region_levels: points of each region, both ends included.
    """

    lower: Tensor
    upper: Tensor
    edges: Tensor
    region_levels: tuple[int, ...]
    kind = "plq"

    @property
    def fine_grid(self) -> UniformSpec:
        """The uniform grid on which integer engines compute."""
        return UniformSpec(8, self.lower, self.upper)

    def settings(self) -> dict[str, Json]:
        """JSON fields beside ``kind``."""
        return {"bits": self.bits, "region_levels": list(self.region_levels)}

    def tensors(self) -> dict[str, Tensor]:
        """``bounds`` (2) and ``edges``."""
        return {**self.fine_grid.tensors(), "edges": self.edges}

    def must_be_positive(self) -> dict[str, Tensor]:
        """The step of the uniform grid and the widths of the regions."""
        return {**self.fine_grid.must_be_positive(), "width of a region": self.edges.diff()}

    @classmethod
    def read(cls, fields: Fields, tensors: StoredTensors, channels: int | None) -> "PLQSpec":
        """From a file; ``channels`` of a layer's input."""
        if channels is None:
            raise fields.wrong("kind", cls.kind, "another kind of grid: only inputs of layers have pieces")
        bits, levels = fields.bits("bits"), fields.integers("region_levels", 2)
        if len(levels) not in (2, 3) or sum(levels) > FINE_LEVELS:
            raise fields.wrong("region_levels", levels, f"2 or 3 regions of at most {FINE_LEVELS} points")
        return cls(bits, *tensors.bounds(), tensors.take("edges", torch.float32, (len(levels) + 1,)), levels)


class PLQuantizer(ActivationQuantizer):
    """Piecewise linear grid with learnable ends and breakpoint.

    Two-sided where ``lower < -breakpoint``: regions end at ``lower, -breakpoint, breakpoint, upper`` (Eq. 3).
    One-sided otherwise, such as after a ReLU, where half of the paper's dense region would be empty: ``lower,
    breakpoint, upper``, both regions with half of the points, as in the released code.

    Integer engines have one step per tensor. Once settled, points are therefore rounded to a uniform grid of 256
    points; ``levels``, ``step`` and ``upper`` are those of that grid. Whether a quantizer is two-sided is decided in
    the constructor and doesn't change. As in the paper, and unlike in the released code, the dense region has no point
    at zero.

    With 8 bits, use ``ActivationQuantizer``: all 256 points would lie on that uniform grid.

    Args:
        lower: smallest value, 0-d.
        breakpoint: end of the dense region, 0-d, moved into ``0..upper`` (and above ``lower``) where it is outside.
        upper: largest value, 0-d.
        bits: 3..7.
        budget: number of points.
    """

    settled: Tensor | None

    def __init__(self, lower: Tensor, breakpoint: Tensor, upper: Tensor, bits: int, budget: Budget = "paper") -> None:
        super().__init__(lower, upper, bits)
        narrowest = NARROWEST * (upper - lower)
        self.two_sided = bool(lower < -(breakpoint.clamp(min=0) + narrowest))
        self.region_levels = region_levels(bits, budget, self.two_sided)
        self.breakpoint = nn.Parameter(breakpoint.detach().clone())
        self.register_buffer("settled", None)
        self.keep_apart(narrowest)

    @property
    def levels(self) -> int:
        """Number of points of the uniform grid of 256."""
        return FINE_LEVELS

    def edges(self) -> Tensor:
        """Ends of the regions from left to right, 3 or 4 values."""
        if self.settled is not None:
            return self.settled
        inner = [-self.breakpoint, self.breakpoint] if self.two_sided else [self.breakpoint]
        return torch.stack([self.lower, *inner, self.upper])

    def forward(self, x: Tensor, bits: Tensor | None = None) -> Tensor:
        """Values to points, any shape; ``bits`` as ``ActivationQuantizer``; all regions' bits change equally."""
        if bits is None:
            points = fake_quantize_pieces(x, self.edges(), self.region_levels)
        else:
            points = self._at_bits(x, bits - self.bits)
        return points if self.settled is None else fake_quantize(points, self.lower, self.upper, self.levels)

    def _at_bits(self, x: Tensor, more: Tensor) -> Tensor:
        """Grid points where each region has ``more`` bits than ``region_levels`` (negative: fewer)."""
        edges = self.edges()
        points = edges[0]
        for (start, end), count in zip(pairwise(edges), self.region_levels, strict=True):
            points = points + fake_quantize_bits(x, start, end, math.log2(count) + more) - start
        return points

    def spec(self) -> PLQSpec:
        """The regions and the uniform grid as they are now."""
        return PLQSpec(self.bits, *self.fixed_bounds(), self.edges().detach().clone(), self.region_levels)

    @torch.no_grad()
    def keep_apart(self, narrowest: Tensor) -> None:
        """Move the breakpoint, then the ends, until every region is at least ``narrowest`` wide."""
        self.breakpoint.clamp_(min=narrowest)
        if self.two_sided:
            self.lower.copy_(torch.minimum(self.lower, -self.breakpoint - narrowest))
        self.breakpoint.copy_(torch.maximum(self.breakpoint, self.lower + narrowest))
        self.upper.copy_(torch.maximum(self.upper, self.breakpoint + narrowest))

    @torch.no_grad()
    def settle(self, delta: float) -> None:
        """Move all points to multiples of ``delta``, all steps to odd multiples, so that no value lies on a tie.

        The dense region stays symmetric up to a few ``delta``.
        """
        edges, last = self.edges(), torch.tensor(self.region_levels, device=self.lower.device) - 1
        start = (edges[0] / delta).round() * delta
        widths = _odd(edges.diff() / (last * delta)) * last * delta
        self.settled = torch.cat([start.reshape(1), start + widths.cumsum(0)])
        self.lower.copy_(start)
        self.upper.copy_(self.settled[-1])
        self.upper.copy_(start + _odd_above(self.step() / delta) * (self.levels - 1) * delta)


def _odd(values: Tensor) -> Tensor:
    """The nearest odd integers, at least 1."""
    return 2 * ((values - 1) / 2).round().clamp(min=0) + 1


def _odd_above(values: Tensor) -> Tensor:
    """The smallest odd integers that are not below ``values``."""
    return 2 * ((values - 1) / 2).ceil().clamp(min=0) + 1


class _FakeQuantizePieces(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, edges: Tensor, levels: tuple[int, ...]) -> Tensor:
        points = _points(x, edges, levels)
        ctx.save_for_backward(x, edges, points)
        return points

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None]:
        x, edges, points = ctx.saved_tensors
        below, above = x < edges[0], x > edges[-1]
        inside = grad.masked_fill(below | above, 0)
        if not ctx.needs_input_grad[1]:
            return inside, None, None
        errors = (points - x).mul_(inside)
        beyond = [errors.masked_fill(x <= edge, 0).sum() for edge in edges[1:-1]]
        sums = torch.stack([errors.sum(), *beyond, errors.new_zeros(())])
        pulls = -sums.diff() / edges.diff()
        grad_edges = torch.zeros_like(edges)
        grad_edges[1:] += pulls
        grad_edges[:-1] -= pulls
        grad_edges[0] += (grad * below).sum()
        grad_edges[-1] += (grad * above).sum()
        return inside, grad_edges, None


def _points(x: Tensor, edges: Tensor, levels: tuple[int, ...]) -> Tensor:
    """First edge plus what each region adds: 0 for values below the region, its width for values above it."""
    ends = edges.tolist()
    total, position = torch.full_like(x, ends[0]), torch.empty_like(x)
    for (start, end), count in zip(pairwise(ends), levels, strict=True):
        step = (end - start) / (count - 1)
        torch.clamp(x, start, end, out=position).sub_(start).div_(step).round_()
        total.add_(position, alpha=step)
    return total
