"""Where the grids of a quantized file end, in the units of the float network."""

from dataclasses import dataclass

from torch import Tensor

from srquant.deploy.frozen.branches import BranchesSpec
from srquant.deploy.frozen.freeze import FrozenModel
from srquant.grids.uniform import relative_step
from srquant.quantizers.grid_spec import GridSpec, UniformSpec
from srquant.quantizers.integer_weight import IntegerWeight, weight_levels
from srquant.quantizers.layers import expand_to_weight
from srquant.quantizers.module_spec import LayerSpec
from srquant.quantizers.plq import PLQSpec
from srquant.quantizers.shifted import ShiftedSpec


@dataclass(frozen=True)
class GridBounds:
    """First and last point of a grid, 0-d or broadcastable to the values that it is for."""

    lower: Tensor
    upper: Tensor

    def outermost(self) -> tuple[float, float]:
        """The lowest and the highest bound of all channels."""
        return float(self.lower.min()), float(self.upper.max())


def activation_bounds(model: FrozenModel) -> dict[str, GridBounds]:
    """Bounds of the input of each layer whose grid is fixed before a picture is known; ranges that follow it have none.

    Of branches those of branch high, which the others share up to the lattice.
    """
    found = {
        name: _of_grid(spec.grid, linear=spec.geometry is None)
        for name, spec in model.specs.items()
        if isinstance(spec, LayerSpec)
    }
    return {name: bounds for name, bounds in found.items() if bounds is not None}


def weight_bounds(model: FrozenModel) -> dict[str, GridBounds]:
    """Bounds of each layer's weight; steps of input channels that were moved into it are taken out."""
    return {name: _of_weight(spec) for name, spec in model.specs.items() if isinstance(spec, LayerSpec)}


def _of_grid(grid: GridSpec, linear: bool) -> GridBounds | None:
    """The types differ in what their bounds mean; kinds that aren't named have ranges that follow the picture."""
    if isinstance(grid, UniformSpec | BranchesSpec):
        return GridBounds(_by_channel(grid.lower, linear), _by_channel(grid.upper, linear))
    if isinstance(grid, PLQSpec):
        return GridBounds(grid.edges[0], grid.edges[-1])
    if isinstance(grid, ShiftedSpec):
        return GridBounds(_by_channel(grid.lower - grid.shift, linear), _by_channel(grid.upper - grid.shift, linear))
    return None


def _by_channel(bound: Tensor, linear: bool) -> Tensor:
    """In a shape that fits ``N x C x H x W``, or ``... x C`` before a linear layer."""
    return bound if bound.dim() == 0 or linear else bound.reshape(-1, 1, 1)


def _of_weight(spec: LayerSpec) -> GridBounds:
    weight, last = spec.weight, weight_levels(spec.weight_bits) - 1
    lower = _rows(weight, weight.shift)
    upper = _rows(weight, weight.multiplier * last + weight.shift)
    steps = relative_step(spec.grid.lower, spec.grid.upper) if isinstance(spec.grid, UniformSpec) else None
    if steps is None:
        return GridBounds(lower, upper)
    moved = expand_to_weight(steps.flatten(), weight.codes)
    return GridBounds(lower / moved, upper / moved)


def _rows(weight: IntegerWeight, integers: Tensor) -> Tensor:
    """A value per row: the integer times the row's scale, ``C_out x 1 ...``."""
    return (integers * weight.scale).reshape(-1, *[1] * (weight.codes.dim() - 1))
