"""The JSON header of a quantized file: written from dataclasses, read back with every field checked."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from srquant.deploy.file.graph_record import GraphRecord, read_graph
from srquant.errors import PolicyError, QuantizedFileError
from srquant.insertion.policy import LayerBits, Override, Policy
from srquant.insertion.quantized_model import Origin
from srquant.models.network import Argument
from srquant.quantizers.stored import Fields, Json, parse_json

VERSION = 5
READABLE = (3, 4, VERSION)

MOST_THREADS = 2**16


class OtherVersion(QuantizedFileError):
    """A file of a version that this srquant can't read; the message says what to do.

    Args:
        version: of the file.
    """

    def __init__(self, version: int) -> None:
        age, step = ("a newer", "update srquant") if version > VERSION else ("an older", "quantize the network again")
        known = f"field 'version' is {version}, this srquant reads {READABLE[0]} to {VERSION}"
        super().__init__(f"it is of {age} srquant: {known}; {step}")


@dataclass(frozen=True)
class Header:
    """Everything about a frozen network that is not a tensor.

    Attributes:
        architecture: of the network, as ``Facts``.
        arguments: the same.
        policy: which layers were quantized, and their bits.
        origin: how it was quantized.
        modules: a record of each frozen module, in the form of ``module_records``, or of ``version3`` in old files.
        depths: names of the blocks that run at each depth, full depth first; empty where all blocks always run.
        graph: of a network that srquant has no architecture for; None for others.
        version: of the file.
    """

    architecture: str
    arguments: dict[str, Argument]
    policy: Policy
    origin: Origin
    modules: tuple[dict[str, Json], ...]
    depths: tuple[tuple[str, ...], ...] = ()
    graph: GraphRecord | None = None
    version: int = VERSION


def to_json(header: Header) -> str:
    """The header as text; the same header gives the same text."""
    return json.dumps(asdict(header), sort_keys=True, separators=(",", ":"))


def from_json(text: str) -> Header:
    """Read a header.

    Raises:
        OtherVersion: this srquant can't read files of its version.
        QuantizedFileError: names the field that is missing, unknown or impossible.
    """
    try:
        values = parse_json(text)
    except QuantizedFileError as error:
        raise QuantizedFileError(f"header: {error}") from error
    fields = Fields("header", values)
    version = fields.take("version", int)
    if version not in READABLE:
        raise OtherVersion(version)
    return _header(fields, version)


def _header(fields: Fields, version: int) -> Header:
    depths = dict(enumerate(fields.take("depths", list)))
    listed = Fields("depths", {str(i): names for i, names in depths.items()})
    header = Header(
        fields.take("architecture", str),
        fields.take("arguments", dict),
        _policy(fields.inside("policy")),
        _origin(fields.inside("origin")),
        tuple(fields.take("layers" if version == 3 else "modules", list)),
        tuple(listed.strings(str(i)) for i in depths),
        _graph(fields) if version == VERSION else None,
        version,
    )
    fields.end()
    return header


def _graph(fields: Fields) -> GraphRecord | None:
    inner = fields.inside_optional("graph")
    if inner is None:
        return None
    graph = read_graph(inner)
    inner.end()
    return graph


def _origin(fields: Fields) -> Origin:
    method, options = fields.take("method", str), fields.take("options", dict)
    calibration = fields.take("calibration", str)
    threads = fields.integer("threads", 0, MOST_THREADS) if "threads" in fields.values else 0
    fields.end()
    return Origin(method, options, calibration, threads)


def _policy(fields: Fields) -> Policy:
    base = fields.inside("base")
    overrides = tuple(_override(Fields("override", values)) for values in fields.take("overrides", list))
    texts: Any = {name: fields.take(name, str) for name in ("granularity", "activation_granularity")}
    kinds: Any = {"kinds": fields.strings("kinds")} if "kinds" in fields.values else {}
    skip_bits: Any = fields.optional("skip_bits", int)
    symmetric = fields.take("symmetric_weights", bool)
    head, tail = (fields.inside_optional(name) for name in ("head", "tail"))
    fields.end()
    try:
        first, last = (None if end is None else _bits(end) for end in (head, tail))
        return Policy(_bits(base), first, last, skip_bits, overrides, symmetric_weights=symmetric, **texts, **kinds)
    except PolicyError as error:
        raise QuantizedFileError(f"{fields.where} is impossible: {error}") from error


def _override(fields: Fields) -> Override:
    pattern, bits = fields.take("pattern", str), fields.inside_optional("bits")
    fields.end()
    return Override(pattern, None if bits is None else _bits(bits))


def _bits(fields: Fields) -> LayerBits:
    bits = LayerBits(fields.bits("weight"), fields.bits("activation"))
    fields.end()
    return bits
