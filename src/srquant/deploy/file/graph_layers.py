"""The layers of a graph in a file: one JSON object each, from which the float layer is made, without its weights."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from srquant.deploy.file.geometry import geometry_record, read_geometry
from srquant.errors import InputError
from srquant.models.blocks.conv_geometry import geometry_of, new_layer
from srquant.models.blocks.layers import Add, Matmul
from srquant.quantizers.stored import Fields, Json

Record = dict[str, Json]

WIDEST = 2**16
"""Most channels or rows of a kernel."""


def layer_record(name: str, layer: nn.Module) -> Record:
    """The object of a float layer.

    Raises:
        InputError: files have no form for it.
    """
    if isinstance(layer, nn.Conv2d | nn.Linear):
        geometry = geometry_of(layer) if isinstance(layer, nn.Conv2d) else None
        shape, bias = list(layer.weight.shape), layer.bias is not None
        return {"kind": "layer", "shape": shape, "bias": bias, "geometry": geometry_record(geometry)}
    if isinstance(layer, Add):
        return {"kind": "sum", "scale": float(layer.scale)}
    if isinstance(layer, Matmul):
        return {"kind": "product"}
    raise InputError(f"layer {name!r}, a {type(layer).__name__}, has no form in files: export the network instead")


def read_layers(records: Mapping[str, Any]) -> dict[str, nn.Module]:
    """The float layers of a graph by name, on the ``meta`` device.

    Raises:
        QuantizedFileError: an object is impossible.
    """
    return {name: _read(Fields(f"graph: layer {name!r:.80}", values)) for name, values in records.items()}


def _read(fields: Fields) -> nn.Module:
    kind = fields.take("kind", str)
    if kind not in ("layer", "sum", "product"):
        raise fields.wrong("kind", kind, "layer, sum or product")
    layer: nn.Module = Matmul()
    if kind != "product":
        layer = _read_weighted(fields) if kind == "layer" else Add(fields.factor("scale"))
    fields.end()
    return layer


def _read_weighted(fields: Fields) -> nn.Module:
    shape, bias, geometry = fields.integers("shape", 1, WIDEST), fields.take("bias", bool), read_geometry(fields)
    if len(shape) != (2 if geometry is None else 4):
        raise fields.wrong("shape", list(shape), "2 numbers of a linear layer, or 4 of a convolution")
    if geometry is not None and (shape[0] % geometry.groups or geometry.groups > WIDEST):
        raise fields.wrong("shape", list(shape), f"outputs that {geometry.groups} groups share")
    return new_layer(shape, bias, geometry, "meta")
