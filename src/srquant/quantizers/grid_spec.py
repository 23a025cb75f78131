"""What files and engines need from an activation quantizer: the numbers that define its grid."""

from dataclasses import dataclass

import torch
from torch import Tensor

from srquant.grids.uniform import relative_step, step_size
from srquant.quantizers.stored import Fields, Json, StoredTensors


@dataclass(frozen=True)
class GridSpec:
    """Base: one subclass for each kind of grid, in the file of its quantizer.

    Files hold ``kind`` and ``settings`` as JSON, and ``tensors`` with the layer's name as prefix;
    ``deploy.frozen.kinds`` lists how each kind is read and which frozen layer it becomes.

    Attributes:
        bits: 2..8; the most where they depend on the picture.
    """

    bits: int

    @property
    def kind(self) -> str:
        """The name of this kind of grid in files."""
        raise NotImplementedError

    @property
    def static(self) -> bool:
        """Whether the grid is the same for every picture."""
        return True

    def settings(self) -> dict[str, Json]:
        """JSON fields beside ``kind``."""
        return {"bits": self.bits}

    def tensors(self) -> dict[str, Tensor]:
        """Tensors for the file, whose names there get the layer's name as prefix."""
        raise NotImplementedError

    def must_be_finite(self) -> dict[str, Tensor]:
        """Values that must be finite, by their name in messages."""
        return {}

    def must_be_positive(self) -> dict[str, Tensor]:
        """Values that must be finite and above zero, by their name in messages."""
        return {}


@dataclass(frozen=True)
class UniformSpec(GridSpec):
    """A uniform grid.

    Attributes:
        lower: float32, 0-d or one value per input channel.
        upper: same shape, above ``lower``.
        narrow: whether the grid has ``2**bits - 1`` points.
    """

    lower: Tensor
    upper: Tensor
    narrow: bool = False
    kind = "uniform"

    @property
    def levels(self) -> int:
        """Number of grid points."""
        return (1 << self.bits) - self.narrow

    def settings(self) -> dict[str, Json]:
        """JSON fields beside ``kind``."""
        return {"bits": self.bits, "narrow": self.narrow}

    def tensors(self) -> dict[str, Tensor]:
        """``bounds``: 2, or 2 x channels."""
        return {"bounds": torch.stack([self.lower, self.upper])}

    def must_be_positive(self) -> dict[str, Tensor]:
        """The steps, and for grids per channel the steps divided by their mean."""
        values = {"step of the input's grid": step_size(self.lower, self.upper, self.levels)}
        relative = relative_step(self.lower, self.upper)
        return values if relative is None else {**values, "step of a channel over their mean": relative}

    @classmethod
    def read(cls, fields: Fields, tensors: StoredTensors, channels: int | None) -> "UniformSpec":
        """From a file; the bounds are one pair, or one for each of ``channels``."""
        shapes = [(2,)] if channels is None else [(2,), (2, channels)]
        bits, narrow = fields.bits("bits"), fields.take("narrow", bool)
        return cls(bits, *tensors.bounds(*shapes), narrow)
