"""Records of frozen modules in files of version 3, converted to the form of ``module_records``.

Version 3 described each module by one flat object of fifteen fields; their values decided which of them were used.
"""

from collections.abc import Mapping
from typing import Any

from torch import nn

from srquant.models.blocks.layers import Matmul
from srquant.quantizers.stored import Fields, Json

FLAT: dict[str, Any] = {
    "lattice": None,
    "weight_bits": None,
    "shape": [],
    "window": None,
    "scale": 1.0,
    "right_bits": None,
    "dynamic": False,
    "branch_bits": [],
    "region_levels": [],
    "narrow": False,
    "shifted": False,
    "quantizer": None,
    "right_quantizer": None,
}
"""Default values of the fields that a record may leave out."""


def from_version_3(values: Any, modules: Mapping[str, nn.Module]) -> dict[str, Json]:
    """The record of a module as ``module_records`` reads it.

    Args:
        values: the record of version 3.
        modules: of the float network, by name: needed to know whether a record is of a sum or of a matrix product.

    Raises:
        QuantizedFileError: a field is missing or unknown.
    """
    fields = Fields("a frozen module", {**FLAT, **values} if isinstance(values, dict) else values)
    name, bits = fields.take("name", str), fields.bits("activation_bits")
    flat, fields.values = fields.values, {key: 0 for key in fields.values if key not in FLAT}
    fields.end()
    if flat["weight_bits"] is not None:
        return {"name": name, **_layer(flat, bits)}
    left = _side(bits, flat["narrow"], flat["quantizer"])
    if flat["right_bits"] is None:
        return {"name": name, "kind": "sum", "grid": left, "scale": flat["scale"]}
    operands = {"left": left, "right": _side(flat["right_bits"], flat["narrow"], flat["right_quantizer"])}
    if isinstance(modules.get(name), Matmul):
        return {"name": name, "kind": "matmul", **operands, "lattice": flat["lattice"]}
    return {"name": name, "kind": "addends", **operands, "scale": flat["scale"]}


def _layer(flat: dict[str, Any], bits: int) -> dict[str, Json]:
    return {
        "kind": "layer",
        "grid": _grid(flat, bits),
        "weight_bits": flat["weight_bits"],
        "shape": flat["shape"],
        "geometry": flat["window"],
        "lattice": flat["lattice"],
    }


def _grid(flat: dict[str, Any], bits: int) -> dict[str, Json]:
    if flat["dynamic"]:
        return {"kind": "dan", "bits": bits}
    if flat["region_levels"]:
        return {"kind": "plq", "bits": bits, "region_levels": flat["region_levels"]}
    if flat["shifted"]:
        return {"kind": "shifted", "bits": bits}
    if flat["branch_bits"]:
        return {"kind": "branches", "bits": bits, "branch_bits": flat["branch_bits"]}
    return _side(bits, flat["narrow"], flat["quantizer"])


def _side(bits: Any, narrow: Any, quantizer: Any) -> dict[str, Json]:
    if quantizer is None:
        return {"kind": "uniform", "bits": bits, "narrow": narrow}
    fields = Fields("quantizer", quantizer)
    described: dict[str, Json] = {"kind": fields.take("kind", str), "bits": bits}
    described["settings"] = fields.take("settings", dict)
    fields.end()
    return described
