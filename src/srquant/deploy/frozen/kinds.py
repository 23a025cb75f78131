"""The kinds of activation grids: how each is read from a file, and which frozen module it becomes.

A new kind of grid has its quantizer and its spec in one new file, and one line in each table here that it needs.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch import nn

from srquant.deploy.frozen.branches import BranchesSpec
from srquant.deploy.frozen.channels import channel_grid_layer, shifted_layer
from srquant.deploy.frozen.dynamic import conditional_layer, dan_layer
from srquant.deploy.frozen.grid import GridPoints, frozen_grid
from srquant.deploy.frozen.layers import frozen_layer
from srquant.deploy.frozen.matmul import FrozenMatmul
from srquant.deploy.frozen.plq import plq_layer
from srquant.deploy.frozen.sums import FrozenAdd, FrozenAddends
from srquant.errors import PolicyError
from srquant.methods.cabm.lut_quantizer import LUTQuantizer
from srquant.methods.cadyq.bit_selector import BitSelectorQuantizer
from srquant.methods.daq.quantizer import DAQQuantizer
from srquant.methods.ddtb.gate import GatedQuantizer
from srquant.quantizers.by_picture import ConditionalSpec
from srquant.quantizers.dan import DANSpec
from srquant.quantizers.grid_spec import GridSpec, UniformSpec
from srquant.quantizers.module_spec import AddendsSpec, LayerSpec, MatmulSpec, ModuleSpec, SumSpec
from srquant.quantizers.plq import PLQSpec
from srquant.quantizers.shifted import ShiftedSpec
from srquant.quantizers.stored import Fields, StoredTensors

F = TypeVar("F")

ReadGrid = Callable[[Fields, StoredTensors, int | None], GridSpec]

READERS: dict[str, ReadGrid] = {
    UniformSpec.kind: UniformSpec.read,
    ShiftedSpec.kind: ShiftedSpec.read,
    PLQSpec.kind: PLQSpec.read,
    DANSpec.kind: DANSpec.read,
    BranchesSpec.kind: BranchesSpec.read,
    **{
        made.kind: ConditionalSpec.reader(made)
        for made in (DAQQuantizer, GatedQuantizer, BitSelectorQuantizer, LUTQuantizer)
    },
}
"""By the kind in a file: the function from the file's fields, its tensors and the input's channels to a spec."""


def uniform_layer(spec: LayerSpec, grid: UniformSpec) -> nn.Module:
    """The layer of one uniform grid, or of one for each channel."""
    return frozen_layer(spec, frozen_grid(grid)) if grid.lower.dim() == 0 else channel_grid_layer(spec, grid)


LAYERS: Mapping[type[GridSpec], Callable[[LayerSpec, Any], nn.Module]] = {
    UniformSpec: uniform_layer,
    ShiftedSpec: shifted_layer,
    PLQSpec: plq_layer,
    DANSpec: dan_layer,
    ConditionalSpec: conditional_layer,
}
"""By the type of a grid: the function that makes the frozen convolution or linear layer."""

POINTS: Mapping[type[GridSpec], Callable[[Any], nn.Module]] = {
    UniformSpec: lambda grid: GridPoints(frozen_grid(grid)),
    ConditionalSpec: lambda grid: grid.quantizer,
}
"""By the type of a grid: the function that makes the module that puts an addend of a sum on grid points."""


def freeze_layer(spec: LayerSpec) -> nn.Module:
    """The frozen convolution or linear layer of a spec."""
    return form_of(spec.grid, LAYERS, "the input of a layer")(spec, spec.grid)


def freeze_sum(spec: SumSpec) -> FrozenAdd:
    """The frozen sum of a spec."""
    return FrozenAdd(frozen_grid(require_uniform("a sum", spec.grid)), spec.scale)


def freeze_addends(spec: AddendsSpec) -> FrozenAddends:
    """The frozen sum of two addends on grids."""
    left, right = (form_of(grid, POINTS, "an addend")(grid) for grid in (spec.left, spec.right))
    return FrozenAddends(left, right, spec.scale)


def freeze_matmul(spec: MatmulSpec) -> FrozenMatmul:
    """The frozen matrix product of a spec."""
    left, right = (
        frozen_grid(require_uniform("an operand of a matrix product", grid)) for grid in (spec.left, spec.right)
    )
    return FrozenMatmul(left, right, spec.lattice)


def form_of(grid: GridSpec, table: Mapping[type[GridSpec], F], what: str) -> F:
    """What a table has for the kind of a grid.

    Raises:
        PolicyError: nothing.
    """
    if type(grid) not in table:
        raise PolicyError(f"{what} has a grid of kind {grid.kind!r}, which has no frozen form there: use another kind")
    return table[type(grid)]


def require_uniform(what: str, grid: GridSpec) -> UniformSpec:
    """The grid, if it is uniform.

    Raises:
        PolicyError: it is of another kind.
    """
    if not isinstance(grid, UniformSpec):  # integer sums and products have one form only
        raise PolicyError(f"{what} has a grid of kind {grid.kind!r}: only uniform grids have an integer form there")
    return grid


MODULES: Mapping[type[ModuleSpec], Callable[[Any], nn.Module]] = {
    LayerSpec: freeze_layer,
    SumSpec: freeze_sum,
    AddendsSpec: freeze_addends,
    MatmulSpec: freeze_matmul,
}


def frozen_module(spec: ModuleSpec) -> nn.Module:
    """The frozen module of a spec."""
    return MODULES[type(spec)](spec)
