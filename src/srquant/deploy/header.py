"""The JSON header of a quantized file: written from dataclasses, read back with every field checked."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from srquant.deploy.lowered import Window
from srquant.errors import PolicyError, QuantizedFileError
from srquant.models.network import Argument
from srquant.quant.model import Origin
from srquant.quant.policy import LayerBits, Override, Policy

VERSION = 1


@dataclass(frozen=True)
class LayerRecord:
    """A layer or sum as the header describes it.

    Attributes:
        name: in the network.
        activation_bits: 2..8.
        lattice: spacing of a layer's outputs.
        weight_bits: 2..8, of a layer.
        shape: of the weight.
        window: of a convolution.
        scale: factor of the second addend, of a sum.
    """

    name: str
    activation_bits: int
    lattice: float | None = None
    weight_bits: int | None = None
    shape: tuple[int, ...] = ()
    window: Window | None = None
    scale: float = 1.0


@dataclass(frozen=True)
class Header:
    """Everything about a frozen network that is no tensor."""

    architecture: str
    arguments: dict[str, Argument]
    policy: Policy
    origin: Origin
    layers: tuple[LayerRecord, ...]


def to_json(header: Header) -> str:
    """The header as text; the same header gives the same text."""
    return json.dumps({"version": VERSION, **asdict(header)}, sort_keys=True, separators=(",", ":"))


def from_json(text: str) -> Header:
    """Read a header.

    Raises:
        QuantizedFileError: names the field that is missing, unknown or impossible.
    """
    try:
        fields = json.loads(text)
    except json.JSONDecodeError as error:
        raise QuantizedFileError(f"header is no JSON ({error}); quantize the network again") from error
    if not isinstance(fields, dict) or fields.get("version") != VERSION:
        version = fields.get("version") if isinstance(fields, dict) else None
        raise QuantizedFileError(f"file version {version!r}; this srquant reads version {VERSION}: update it")
    del fields["version"]
    try:
        policy = _policy(fields.pop("policy"))
        layers = tuple(_layer(record) for record in fields.pop("layers"))
        return Header(policy=policy, origin=Origin(**fields.pop("origin")), layers=layers, **fields)
    except (KeyError, TypeError, ValueError) as error:
        raise QuantizedFileError(f"header field is missing, unknown or impossible: {error}") from error


def _policy(fields: dict[str, Any]) -> Policy:
    overrides = tuple(Override(o["pattern"], _bits(o["bits"])) for o in fields.pop("overrides"))
    base = _bits(fields.pop("base"))
    if base is None:
        raise PolicyError("policy has no base bits")
    return Policy(base, _bits(fields.pop("head")), _bits(fields.pop("tail")), overrides=overrides, **fields)


def _bits(fields: dict[str, int] | None) -> LayerBits | None:
    return None if fields is None else LayerBits(**fields)


def _layer(fields: dict[str, Any]) -> LayerRecord:
    window = fields.pop("window")
    shape = tuple(_size(n, "shape") for n in fields.pop("shape"))
    record = LayerRecord(window=None if window is None else _window(window), shape=shape, **fields)
    LayerBits(8 if record.weight_bits is None else record.weight_bits, record.activation_bits)
    if record.lattice is not None and not 0 < record.lattice < 1:
        raise ValueError(f"lattice {record.lattice}")
    if record.weight_bits is not None and len(shape) != (2 if window is None else 4):
        raise ValueError(f"weight shape {shape}")
    return record


def _window(fields: dict[str, Any]) -> Window:
    stride, padding, dilation = (_pair(fields[key], key) for key in ("stride", "padding", "dilation"))
    if min(*stride, *dilation, fields["groups"]) < 1:
        raise ValueError(f"window {fields}")
    return Window(stride, padding, dilation, fields["groups"])


def _pair(values: list[Any], what: str) -> tuple[int, int]:
    height, width = (_size(value, what) for value in values)
    return height, width


def _size(value: Any, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{what} {value!r}")
    return value
