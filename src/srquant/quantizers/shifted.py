"""Activation grids after a shift of each channel, padded with true zeros."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from srquant.quantizers.base import ActivationQuantizer, zero_padded
from srquant.quantizers.grid_spec import GridSpec, UniformSpec
from srquant.quantizers.stored import Fields, StoredTensors


@dataclass(frozen=True)
class ShiftedSpec(GridSpec):
    """A uniform grid after a shift of each channel.

    Attributes:
        lower: first grid point, float32, 0-d.
        upper: last grid point, 0-d.
        shift: added to each input channel first, float32 ``C_in``; zeros of padding are not shifted.
    """

    lower: Tensor
    upper: Tensor
    shift: Tensor
    kind = "shifted"

    @property
    def grid(self) -> UniformSpec:
        """Grid of the shifted values."""
        return UniformSpec(self.bits, self.lower, self.upper)

    def tensors(self) -> dict[str, Tensor]:
        """``bounds`` (2) and ``shift`` (channels)."""
        return {**self.grid.tensors(), "shift": self.shift}

    def must_be_positive(self) -> dict[str, Tensor]:
        """The step."""
        return self.grid.must_be_positive()

    def must_be_finite(self) -> dict[str, Tensor]:
        """The shifts."""
        return {"shift of its channels": self.shift}

    @classmethod
    def read(cls, fields: Fields, tensors: StoredTensors, channels: int | None) -> "ShiftedSpec":
        """From a file; ``channels`` of a layer's input."""
        if channels is None:
            raise fields.wrong("kind", cls.kind, "another kind of grid: only inputs of layers have shifted channels")
        return cls(fields.bits("bits"), *tensors.bounds(), tensors.take("shift", torch.float32, (channels,)))


class ShiftedQuantizer(ActivationQuantizer):
    """``q(x + shift)`` on one grid for all channels; the shift is not subtracted again.

    Padding adds zeros to the grid points, after the shift: zero is a grid point, so integer engines pad with its code.
    An engine quantizes each channel with its shifted bounds, so the shift costs nothing.

    Args:
        lower: first grid point, 0-d, an integer multiple of the step.
        upper: last grid point, 0-d, above ``lower``.
        bits: 2..8.
        shift: ``C x 1 x 1`` before a convolution, ``C`` before a linear layer.
    """

    def __init__(self, lower: Tensor, upper: Tensor, bits: int, shift: Tensor) -> None:
        super().__init__(lower, upper, bits)
        self.shift = nn.Parameter(shift.detach().clone())

    def forward(self, x: Tensor, bits: Tensor | None = None) -> Tensor:
        """Values to grid points, any shape; ``bits`` as ``ActivationQuantizer``."""
        return super().forward(x + self.shift, bits)

    def padded(self, x: Tensor, padding: tuple[int, int]) -> Tensor:
        """Grid points with zeros around them."""
        return zero_padded(self(x), padding)

    @torch.no_grad()
    def scale(self, factor: float) -> None:
        """Multiply the bounds and the shift, in place."""
        super().scale(factor)
        self.shift.mul_(factor)

    @torch.no_grad()
    def settle(self, delta: float) -> None:
        """Settle the grid as ``ActivationQuantizer``, and move the shift to multiples of ``delta``."""
        super().settle(delta)
        self.shift.copy_((self.shift / delta).round() * delta)

    def spec(self) -> ShiftedSpec:
        """The grid and the shift as they are now."""
        return ShiftedSpec(self.bits, *self.fixed_bounds(), self.shift.detach().flatten().clone())
