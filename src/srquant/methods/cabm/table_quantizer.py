"""Bits that a table has for each picture's edge score (CABM, Tian et al., CVPR 2023, section 3.3)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from srquant.methods.cabm.edge_table import look_up
from srquant.methods.cadyq.candidates import CandidateQuantizer
from srquant.methods.cadyq.selector import SelectingQuantizer
from srquant.quantizers.stored import Json


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

    def settings(self) -> dict[str, Json]:
        """Keyword arguments of the constructor."""
        return {"candidates": list(self.choices), "entries": len(self.edges)}

    def flags(self, x: Tensor) -> Tensor:
        """Which candidate each sample takes, ``N`` int64."""
        chosen = self.by_edge[look_up(self.edges, self.pictures.edges)].long().clamp(max=len(self.choices) - 1)
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

    def deployable(self) -> TableQuantizer:
        """The quantizer that has nothing but the table."""
        entries = int(self.entries)
        result = TableQuantizer(self.choices, entries)
        result.edges.copy_(self.edges[:entries])
        result.by_edge.copy_(self.by_edge[:entries])
        result.bounds.data.copy_(self.bounds.detach())
        result.current = self.current
        return result.requires_grad_(False)

    def flags(self, x: Tensor) -> Tensor:
        """Which candidate each sample takes, ``N`` int64."""
        if not self.mapped:
            return super().flags(x)
        entries = int(self.entries)
        chosen = self.by_edge[look_up(self.edges[:entries], self.pictures.edges)].long()
        return chosen.repeat_interleave(len(x) // len(chosen))

    def forward(self, x: Tensor) -> Tensor:
        """Values to grid points, any shape."""
        return self.chosen(x, self.flags(x)) if self.mapped else super().forward(x)
