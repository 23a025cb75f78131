"""Quantizers that take their bits from the edge-to-bit LUT (CABM, Tian et al., CVPR 2023, section 3.3)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from srquant.methods.cabm.edge_to_bit_lut import look_up
from srquant.methods.cadyq.bit_selector import BitSelectorQuantizer
from srquant.methods.cadyq.candidates import CandidateQuantizer
from srquant.quantizers.stored import Json


class LUTQuantizer(CandidateQuantizer):
    """Quantizes each sample with the candidate of the picture's edge score, see ``edge_to_bit_lut.look_up``.

    Args:
        candidates: bits, 2..8, ascending.
        entries: number of entries of the LUT, at least 1.

    Attributes:
        edges: edge scores in hundredths, ascending, int64 ``entries``.
        by_edge: index of the candidate for each of them, uint8 ``entries``.
    """

    kind = "cabm"

    def __init__(self, candidates: Sequence[int], entries: int) -> None:
        super().__init__(candidates)
        if entries < 1:
            raise ValueError(f"entries is {entries}: the table needs 1 or more")
        self.edges: Tensor
        self.by_edge: Tensor
        self.register_buffer("edges", torch.zeros(entries, dtype=torch.int64))
        self.register_buffer("by_edge", torch.zeros(entries, dtype=torch.uint8))

    def settings(self) -> dict[str, Json]:
        """Keyword arguments of the constructor."""
        return {"candidates": list(self.choices), "entries": len(self.edges)}

    def choose(self, x: Tensor) -> Tensor:
        """Index of each sample's candidate, ``N`` int64."""
        chosen = self.by_edge[look_up(self.edges, self.pictures.edges)].long().clamp(max=len(self.choices) - 1)
        return chosen.repeat_interleave(len(x) // len(chosen))


class BitMappingQuantizer(BitSelectorQuantizer):
    """Chooses by its bit selector until ``set_lut`` is called, afterwards by the LUT.

    The LUT is in ``state_dict``, so its largest size must be known from the start.

    Args:
        candidates: bits, 2..8, ascending.
        features: channels of the input.
        channel_axis: 1 before a convolution, -1 before a linear layer.
        gradient_scale: for pictures in [0, 1].
        capacity: largest number of entries of the LUT.
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
    def has_lut(self) -> bool:
        """Whether ``set_lut`` was called."""
        return bool(self.entries > 0)

    def set_lut(self, edges: Tensor, by_edge: Tensor) -> None:
        """Set the LUT: ``E`` edge scores in hundredths, ascending, and the index of the candidate for each."""
        self.entries.fill_(len(edges))
        self.edges[: len(edges)] = edges
        self.by_edge[: len(edges)] = by_edge

    def deployable(self) -> LUTQuantizer:
        """The quantizer with the LUT and without the bit selector."""
        entries = int(self.entries)
        result = LUTQuantizer(self.choices, entries)
        result.edges.copy_(self.edges[:entries])
        result.by_edge.copy_(self.by_edge[:entries])
        result.bounds.data.copy_(self.bounds.detach())
        result.current = self.current
        return result.requires_grad_(False)

    def choose(self, x: Tensor) -> Tensor:
        """Index of each sample's candidate, ``N`` int64."""
        if not self.has_lut:
            return super().choose(x)
        entries = int(self.entries)
        chosen = self.by_edge[look_up(self.edges[:entries], self.pictures.edges)].long()
        return chosen.repeat_interleave(len(x) // len(chosen))

    def forward(self, x: Tensor) -> Tensor:
        """Values to grid points, any shape."""
        return self.chosen_points(x, self.choose(x)) if self.has_lut else super().forward(x)
