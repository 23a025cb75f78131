"""What files and engines need from quantized modules: integers, scales and the specs of their grids."""

from dataclasses import dataclass

from torch import Tensor

from srquant.models.blocks.conv_geometry import ConvGeometry
from srquant.quantizers.grid_spec import GridSpec
from srquant.quantizers.integer_weight import IntegerWeight


@dataclass(frozen=True)
class LayerSpec:
    """A convolution (with a geometry) or linear layer (without).

    Attributes:
        grid: of the input.
        weight: codes and the integers they stand for.
        weight_bits: 2..8.
        bias: float32 ``C_out``, or None.
        geometry: of a convolution.
        lattice: spacing of output scale and bias, or None.
    """

    grid: GridSpec
    weight: IntegerWeight
    weight_bits: int
    bias: Tensor | None
    geometry: ConvGeometry | None
    lattice: float | None

    @property
    def grids(self) -> dict[str, GridSpec]:
        """Grids by the prefix of their tensors' names."""
        return {"": self.grid}


@dataclass(frozen=True)
class SumSpec:
    """``a + scale * b`` on a grid."""

    grid: GridSpec
    scale: float

    @property
    def grids(self) -> dict[str, GridSpec]:
        """Grids by the prefix of their tensors' names."""
        return {"": self.grid}


@dataclass(frozen=True)
class AddendsSpec:
    """``a + scale * b`` of two addends on a grid each."""

    left: GridSpec
    right: GridSpec
    scale: float

    @property
    def grids(self) -> dict[str, GridSpec]:
        """Grids by the prefix of their tensors' names."""
        return {"left.": self.left, "right.": self.right}


@dataclass(frozen=True)
class MatmulSpec:
    """A matrix product of two activations on a grid each, and the spacing of the results."""

    left: GridSpec
    right: GridSpec
    lattice: float | None

    @property
    def grids(self) -> dict[str, GridSpec]:
        """Grids by the prefix of their tensors' names."""
        return {"left.": self.left, "right.": self.right}


ModuleSpec = LayerSpec | SumSpec | AddendsSpec | MatmulSpec
