"""The JSON header of a quantized file: written from dataclasses, read back with every field checked."""

import json
import math
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from srquant.deploy.export.nodes import Window
from srquant.errors import PolicyError, QuantizedFileError
from srquant.insertion.policy import LayerBits, Override, Policy
from srquant.insertion.quantized_model import Origin
from srquant.models.network import Argument
from srquant.quantizers.by_picture import Setting

VERSION = 3

MOST_POINTS = 256
"""Points of all regions of a piecewise linear grid."""

T = TypeVar("T")


@dataclass(frozen=True)
class QuantizerRecord:
    """A quantizer whose grid depends on what it sees (``quantizers.by_picture``).

    Attributes:
        kind: in ``deploy.file.quantizer_kinds.KINDS``.
        settings: keyword arguments of its constructor.
    """

    kind: str
    settings: dict[str, Setting]


@dataclass(frozen=True)
class LayerRecord:
    """A layer, sum or matrix product as the header describes it.

    Attributes:
        name: in the network.
        activation_bits: 2..8; of the first of two operands.
        lattice: spacing of the outputs of a layer or matrix product.
        weight_bits: 2..8, of a layer.
        shape: of the weight.
        window: of a convolution.
        scale: factor of the second addend, of a sum.
        right_bits: 2..8, of the second operand of a matrix product, or of a sum whose addends are on grids.
        dynamic: whether a layer's bounds are of values normalised channel by channel.
        narrow: whether its activation grids have ``2**bits - 1`` points.
        shifted: whether each channel of a layer's input is shifted before it is quantized.
        quantizer: of a layer, or of a sum's first addend, whose grid depends on what it sees; ``activation_bits`` are
            the most it can have.
        right_quantizer: the same of a sum's second addend.
        region_levels: of a layer with a piecewise linear grid, the points of its two or three regions.
        branch_bits: of a layer whose activation bits depend on the picture, 2..8 for each of its three branches.
    """

    name: str
    activation_bits: int
    lattice: float | None = None
    weight_bits: int | None = None
    shape: tuple[int, ...] = ()
    window: Window | None = None
    scale: float = 1.0
    right_bits: int | None = None
    dynamic: bool = False
    branch_bits: tuple[int, ...] = ()
    region_levels: tuple[int, ...] = ()
    narrow: bool = False
    shifted: bool = False
    quantizer: QuantizerRecord | None = None
    right_quantizer: QuantizerRecord | None = None


@dataclass(frozen=True)
class Header:
    """Everything about a frozen network that is no tensor.

    Attributes:
        architecture: of the network, as ``Facts``.
        arguments: the same.
        policy: which layers were quantized, and their bits.
        origin: how.
        layers: those that are frozen.
        depths: names of the blocks that run at each depth, full depth first; empty where all blocks always run.
    """

    architecture: str
    arguments: dict[str, Argument]
    policy: Policy
    origin: Origin
    layers: tuple[LayerRecord, ...]
    depths: tuple[tuple[str, ...], ...] = ()


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
    except (ValueError, RecursionError) as error:
        raise QuantizedFileError(f"header is no JSON ({error}); quantize the network again") from error
    version = fields.pop("version", None) if isinstance(fields, dict) else None
    if type(version) is not int or version != VERSION:
        raise QuantizedFileError(f"file version {version!r}; this srquant reads version {VERSION}: update it")
    try:
        return _header(**fields)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise QuantizedFileError(f"header field is missing, unknown or impossible: {error}") from error


def _header(architecture: Any, arguments: Any, policy: Any, origin: Any, layers: Any, depths: Any) -> Header:
    records = tuple(_layer(record) for record in _of(list, layers))
    if len({record.name for record in records}) < len(records):
        raise ValueError("two layers have one name")
    blocks = tuple(tuple(_of(str, name) for name in _of(list, names)) for names in _of(list, depths))
    return Header(_of(str, architecture), _of(dict, arguments), _policy(policy), _origin(**origin), records, blocks)


def _origin(method: Any, options: Any, calibration: Any) -> Origin:
    return Origin(_of(str, method), _of(dict, options), _of(str, calibration))


def _policy(fields: dict[str, Any]) -> Policy:
    overrides = tuple(Override(_of(str, o["pattern"]), _bits(o["bits"])) for o in fields.pop("overrides"))
    base = _bits(fields.pop("base"))
    if base is None:
        raise PolicyError("policy has no base bits")
    _of(bool, fields["symmetric_weights"])
    if "kinds" in fields:
        fields["kinds"] = tuple(_of(list, fields["kinds"]))
    if fields["skip_bits"] is not None:
        _of(int, fields["skip_bits"])
    return Policy(base, _bits(fields.pop("head")), _bits(fields.pop("tail")), overrides=overrides, **fields)


def _bits(fields: dict[str, int] | None) -> LayerBits | None:
    return None if fields is None else LayerBits(**fields)


def _layer(fields: dict[str, Any]) -> LayerRecord:
    window = fields.pop("window")
    shape = tuple(_size(n, 1) for n in fields.pop("shape"))
    branch_bits = _branch_bits(fields.pop("branch_bits", []))
    regions = _region_levels(fields.pop("region_levels", []))
    quantizer, right = fields.pop("quantizer", None), fields.pop("right_quantizer", None)
    record = LayerRecord(
        quantizer=None if quantizer is None else _quantizer(**quantizer),
        right_quantizer=None if right is None else _quantizer(**right),
        window=None if window is None else _window(**window),
        shape=shape,
        branch_bits=branch_bits,
        region_levels=regions,
        **fields,
    )
    _of(str, record.name)
    if _of(bool, record.dynamic) and record.weight_bits is None:
        raise ValueError("only layers have dynamic ranges")
    if quantizer is not None and (record.dynamic or branch_bits or regions):
        raise ValueError("a quantizer of its own beside another grid")
    of_two = record.weight_bits is None and record.right_bits is not None
    if (right is not None and not of_two) or (quantizer is not None and record.weight_bits is None and not of_two):
        raise ValueError("a quantizer of its own on something else than a layer or an addend")
    if _of(bool, record.shifted) and (record.weight_bits is None or record.dynamic or branch_bits or regions):
        raise ValueError("a shift of something else than a layer on one grid")
    if _of(bool, record.narrow) and (record.dynamic or branch_bits or regions):
        raise ValueError("a narrow grid that is dynamic, piecewise or of branches")
    for bits in (record.weight_bits, record.right_bits):
        LayerBits(8 if bits is None else bits, record.activation_bits)
    if record.lattice is not None and not _is_lattice(record.lattice):
        raise ValueError(f"lattice {record.lattice!r}")
    if branch_bits and (record.weight_bits is None or record.lattice is None):
        raise ValueError(f"bits of branches {branch_bits} without a lattice")
    if regions and (record.weight_bits is None or record.dynamic or branch_bits):
        raise ValueError(f"regions {regions} of something else than a layer on one grid")
    if isinstance(record.scale, bool) or (
        record.weight_bits is not None and len(shape) != (2 if window is None else 4)
    ):
        raise ValueError(f"scale {record.scale!r}, weight shape {shape}")
    return record


def _quantizer(kind: Any, settings: Any) -> QuantizerRecord:
    return QuantizerRecord(_of(str, kind), _of(dict, settings))


def _branch_bits(values: list[Any]) -> tuple[int, ...]:
    bits = tuple(LayerBits(8, value).activation for value in _of(list, values))
    if len(bits) not in (0, 3):
        raise ValueError(f"bits of {len(bits)} branches")
    return bits


def _region_levels(values: list[Any]) -> tuple[int, ...]:
    levels = tuple(_size(value, 2) for value in _of(list, values))
    if len(levels) not in (0, 2, 3) or sum(levels) > MOST_POINTS:
        raise ValueError(f"regions of {levels} points")
    return levels


def _is_lattice(spacing: float) -> bool:
    """Whether it is a power of two that float32 holds well."""
    return isinstance(spacing, float) and math.frexp(spacing)[0] == 0.5 and 2.0**-100 <= spacing <= 2.0**100


def _window(stride: Any, padding: Any, dilation: Any, groups: Any) -> Window:
    return Window(_pair(stride, 1), _pair(padding, 0), _pair(dilation, 1), _size(groups, 1))


def _pair(values: list[Any], smallest: int) -> tuple[int, int]:
    height, width = (_size(value, smallest) for value in values)
    return height, width


def _size(value: Any, smallest: int) -> int:
    if _of(int, value) < smallest:
        raise ValueError(f"{value} is below {smallest}")
    return int(value)


def _of(kind: type[T], value: Any) -> T:
    """``value``, which is a ``kind`` and nothing derived from it (such as a bool where an int is due)."""
    if type(value) is not kind:
        raise ValueError(f"{value!r:.80} is no {kind.__name__}")
    return value
