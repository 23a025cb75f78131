"""Frozen modules in a file: one JSON object each in the header, and tensors whose names start with the module's."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from srquant.deploy.file.geometry import geometry_record, read_geometry
from srquant.deploy.frozen.kinds import READERS
from srquant.errors import QuantizedFileError
from srquant.models.blocks.conv_geometry import geometry_of
from srquant.models.blocks.layers import Add, Matmul
from srquant.quantizers.grid_spec import GridSpec
from srquant.quantizers.integer_weight import IntegerWeight
from srquant.quantizers.module_spec import AddendsSpec, LayerSpec, MatmulSpec, ModuleSpec, SumSpec
from srquant.quantizers.stored import Fields, Json, StoredTensors


def record_of(name: str, spec: ModuleSpec) -> dict[str, Json]:
    """The JSON object of a module."""
    return {"name": name, **WRITERS[type(spec)](spec)}


def tensors_of(name: str, spec: ModuleSpec) -> dict[str, Tensor]:
    """The tensors of a module, by their names in the file."""
    found = {f"{prefix}{key}": value for prefix, grid in spec.grids.items() for key, value in grid.tensors().items()}
    if isinstance(spec, LayerSpec):
        found |= spec.weight.tensors(spec.weight_bits)
        found |= {} if spec.bias is None else {"bias": spec.bias}
    return {f"{name}.{key}": value for key, value in found.items()}


def read_module(values: Any, modules: Mapping[str, nn.Module], tensors: StoredTensors) -> tuple[str, ModuleSpec]:
    """Name and spec of a module.

    Args:
        values: its JSON object.
        modules: of the float network that have not been read yet, by name.
        tensors: of the file; those of the module are taken.

    Raises:
        QuantizedFileError: the object, the tensors and the network contradict each other.
    """
    fields = Fields("a frozen module", values)
    name, kind = fields.take("name", str), fields.take("kind", str)
    fields.where = f"layer {name!r}"
    if kind not in MODULE_READERS:
        raise fields.wrong("kind", kind, f"one of {', '.join(MODULE_READERS)}")
    if name not in modules:
        raise QuantizedFileError(
            f"{fields.where} doesn't fit the network: it has no such layer, or the file has it twice"
        )
    spec = MODULE_READERS[kind](fields, modules[name], tensors.inside(f"{name}."))
    fields.end()
    return name, spec


def _described(grid: GridSpec) -> dict[str, Json]:
    return {"kind": grid.kind, **grid.settings()}


def _layer(spec: LayerSpec) -> dict[str, Json]:
    return {
        "kind": "layer",
        "grid": _described(spec.grid),
        "weight_bits": spec.weight_bits,
        "shape": list(spec.weight.codes.shape),
        "geometry": geometry_record(spec.geometry),
        "lattice": spec.lattice,
    }


def _sum(spec: SumSpec) -> dict[str, Json]:
    return {"kind": "sum", "grid": _described(spec.grid), "scale": spec.scale}


def _addends(spec: AddendsSpec) -> dict[str, Json]:
    return {"kind": "addends", "left": _described(spec.left), "right": _described(spec.right), "scale": spec.scale}


def _matmul(spec: MatmulSpec) -> dict[str, Json]:
    return {"kind": "matmul", "left": _described(spec.left), "right": _described(spec.right), "lattice": spec.lattice}


WRITERS: Mapping[type[ModuleSpec], Callable[[Any], dict[str, Json]]] = {
    LayerSpec: _layer,
    SumSpec: _sum,
    AddendsSpec: _addends,
    MatmulSpec: _matmul,
}


def _read_layer(fields: Fields, module: nn.Module, tensors: StoredTensors) -> LayerSpec:
    bits, shape, geometry = fields.bits("weight_bits"), fields.integers("shape", 1), read_geometry(fields)
    fits = isinstance(module, nn.Conv2d | nn.Linear) and tuple(module.weight.shape) == shape
    own = geometry_of(module) if isinstance(module, nn.Conv2d) else None
    if not fits or geometry != own:
        raise QuantizedFileError(
            f"{fields.where}: shape {shape} with geometry {geometry} doesn't fit the network's {module}"
        )
    grid = _grid(fields.inside("grid"), tensors, shape[1] * (1 if geometry is None else geometry.groups))
    weight, has_bias = IntegerWeight.read(tensors, shape, bits), getattr(module, "bias", None) is not None
    bias = tensors.take("bias", torch.float32, (shape[0],)) if has_bias else None
    return LayerSpec(grid, weight, bits, bias, geometry, _lattice(fields))


def _read_sum(fields: Fields, module: nn.Module, tensors: StoredTensors) -> SumSpec:
    scale = _scale(fields, module)
    return SumSpec(_grid(fields.inside("grid"), tensors, None), scale)


def _read_addends(fields: Fields, module: nn.Module, tensors: StoredTensors) -> AddendsSpec:
    scale = _scale(fields, module)
    return AddendsSpec(*_operands(fields, tensors), scale)


def _read_matmul(fields: Fields, module: nn.Module, tensors: StoredTensors) -> MatmulSpec:
    if not isinstance(module, Matmul):
        raise QuantizedFileError(f"{fields.where}: a matrix product doesn't fit the network's {module}")
    return MatmulSpec(*_operands(fields, tensors), _lattice(fields))


MODULE_READERS: Mapping[str, Callable[[Fields, nn.Module, StoredTensors], ModuleSpec]] = {
    "layer": _read_layer,
    "sum": _read_sum,
    "addends": _read_addends,
    "matmul": _read_matmul,
}


def _grid(fields: Fields, tensors: StoredTensors, channels: int | None) -> GridSpec:
    kind = fields.take("kind", str)
    if kind not in READERS:
        raise fields.wrong("kind", kind, f"one of {', '.join(READERS)}")
    grid = READERS[kind](fields, tensors, channels)
    fields.end()
    return grid


def _operands(fields: Fields, tensors: StoredTensors) -> tuple[GridSpec, GridSpec]:
    left, right = (_grid(fields.inside(side), tensors.inside(f"{side}."), None) for side in ("left", "right"))
    return left, right


def _scale(fields: Fields, module: nn.Module) -> float:
    """Factor of the second addend; it must be that of the network."""
    scale = fields.take("scale", float)
    if not isinstance(module, Add) or scale != module.scale:
        raise QuantizedFileError(f"{fields.where}: a sum of scale {scale} doesn't fit the network's {module}")
    return scale


def _lattice(fields: Fields) -> float | None:
    """Spacing of the outputs: a power of two that float32 holds well."""
    spacing = fields.optional("lattice", float)
    if spacing is not None and not (math.frexp(spacing)[0] == 0.5 and 2.0**-100 <= spacing <= 2.0**100):
        raise fields.wrong("lattice", spacing, "a power of two from 2**-100 to 2**100")
    return spacing
