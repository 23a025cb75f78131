"""What stays of an activation quantizer: the numbers from which files and engines make its grid."""

from dataclasses import dataclass

import torch
from torch import Tensor

from srquant.grids.uniform import relative_step, step_size
from srquant.quantizers.stored import Fields, Json, StoredTensors


@dataclass(frozen=True)
class GridSpec:
    """Base: one subclass for each kind of grid, next to its quantizer.

    Files hold ``kind`` and ``settings`` as JSON and ``tensors`` behind the name of the layer;
    ``deploy.frozen.kinds`` lists how each kind is read and which frozen layer it gives.

    Attributes:
        bits: 2..8; the most where they depend on the picture.
    """

    bits: int

    @property
    def kind(self) -> str:
        """The name by which files know this kind of grid."""
        raise NotImplementedError

    @property
    def static(self) -> bool:
        """Whether the grid is the same for every picture."""
        return True

    def settings(self) -> dict[str, Json]:
        """JSON fields beside ``kind``."""
        return {"bits": self.bits}

    def tensors(self) -> dict[str, Tensor]:
        """Tensors of the file, behind the name of the layer."""
        raise NotImplementedError

    def must_be_finite(self) -> dict[str, Tensor]:
        """Values that make the grid impossible where they are not finite, by what they are."""
        return {}

    def must_be_positive(self) -> dict[str, Tensor]:
        """Values that make the grid impossible where they are not finite and above zero, by what they are."""
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
        """Steps, absolute and of channels beside each other."""
        values = {"step of the input's grid": step_size(self.lower, self.upper, self.levels)}
        relative = relative_step(self.lower, self.upper)
        return values if relative is None else {**values, "step of a channel over their mean": relative}

    @classmethod
    def read(cls, fields: Fields, tensors: StoredTensors, channels: int | None) -> "UniformSpec":
        """From a file; the bounds are one pair, or one for each of ``channels``."""
        shapes = [(2,)] if channels is None else [(2,), (2, channels)]
        bits, narrow = fields.bits("bits"), fields.take("narrow", bool)
        return cls(bits, *tensors.bounds(*shapes), narrow)
