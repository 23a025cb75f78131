"""What an exported file says about its network beside the graph: facts for tiles and reports, as JSON.

The number of channels isn't among them: the shape of the graph's input has it. OpenVINO's files hold the text in
``rt_info``, those of ONNX in ``metadata_props``, both under ``KEY``.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any, get_args

from srquant.errors import ExportedFileError, QuantizedFileError
from srquant.grids.uniform import FEWEST_BITS, FLOAT_BITS, MOST_BITS
from srquant.insertion.policy import LayerKind
from srquant.quantizers.stored import Fields, parse_json

KEY = "srquant"
WEIGHTS = "srquant_weights"
"""Key of the digest of the ``.bin`` beside an ``.xml``."""

TENSORRT = "srquant_tensorrt"
"""Key in files for TensorRT, whose biases are float."""

VERSION = 1

MOST_SCALE, MOST_PIXELS, MOST_BYTES = 64, 2**16, 2**30
"""Largest scale, largest size or distance in pixels, and most bytes per pixel that a record may have."""


@dataclass(frozen=True)
class LayerRecord:
    """A convolution, linear layer or matrix product and its bits, 2..8, or 32 for float.

    Attributes:
        name: in the network, and in the exported graph.
        kind: ``conv``, ``linear`` or ``matmul``.
        weight_bits: of a matrix product's second operand.
        activation_bits: of a matrix product's first operand.
    """

    name: str
    kind: LayerKind
    weight_bits: int
    activation_bits: int

    @property
    def quantized(self) -> bool:
        """Whether weights and activations are on grids."""
        return self.weight_bits < FLOAT_BITS


@dataclass(frozen=True)
class Record:
    """Facts of an exported network, in input pixels.

    Attributes:
        architecture: as ``Facts``.
        scale: upscaling factor.
        smallest: fewest rows and columns of a picture.
        multiple_of: rows and columns must be multiples of this.
        overlap: of tiles; an upper bound of the radius of the receptive field where ``tiles_exact``.
        alignment: tiles start at multiples of this.
        bytes_per_pixel: memory that a tile needs, about.
        tiles_exact: whether tiles give the untiled result.
        fab: feature average bit-width; None for a float network.
        layers: in the network's order.
    """

    architecture: str
    scale: int
    smallest: int
    multiple_of: int
    overlap: int
    alignment: int
    bytes_per_pixel: int
    tiles_exact: bool
    fab: float | None
    layers: tuple[LayerRecord, ...]

    def to_json(self) -> str:
        """The record as text; the same record gives the same text."""
        return json.dumps(asdict(self) | {"version": VERSION}, sort_keys=True, separators=(",", ":"))

    @property
    def quantized(self) -> tuple[LayerRecord, ...]:
        """The layers on grids."""
        return tuple(layer for layer in self.layers if layer.quantized)


def read_record(text: str) -> Record:
    """A record from its text.

    Raises:
        ExportedFileError: names the field that is missing, unknown or impossible.
    """
    try:
        fields = Fields("facts", parse_json(text))
        version = fields.take("version", int)
        if version != VERSION:
            raise fields.wrong("version", version, f"{VERSION}; update srquant")
        return _record(fields)
    except (QuantizedFileError, ValueError, RecursionError) as error:
        raise ExportedFileError(f"what srquant wrote about the network is damaged ({error})") from error


def _record(fields: Fields) -> Record:
    record = Record(
        fields.take("architecture", str),
        fields.integer("scale", 1, MOST_SCALE),
        fields.integer("smallest", 1, MOST_PIXELS),
        fields.integer("multiple_of", 1, MOST_PIXELS),
        fields.integer("overlap", 0, MOST_PIXELS),
        fields.integer("alignment", 1, MOST_PIXELS),
        fields.integer("bytes_per_pixel", 1, MOST_BYTES),
        fields.take("tiles_exact", bool),
        _fab(fields),
        tuple(_layer(Fields("facts: layer", values)) for values in fields.take("layers", list)),
    )
    fields.end()
    return record


def _fab(fields: Fields) -> float | None:
    fab = fields.optional("fab", float)
    if fab is not None and not FEWEST_BITS <= fab <= MOST_BITS:
        raise fields.wrong("fab", fab, f"{FEWEST_BITS} to {MOST_BITS}")
    return fab


def _layer(fields: Fields) -> LayerRecord:
    kind: Any = fields.take("kind", str)
    if kind not in get_args(LayerKind):
        raise fields.wrong("kind", kind, " or ".join(get_args(LayerKind)))
    layer = LayerRecord(fields.take("name", str), kind, _bits(fields, "weight_bits"), _bits(fields, "activation_bits"))
    fields.end()
    return layer


def _bits(fields: Fields, name: str) -> int:
    bits = fields.integer(name, FEWEST_BITS, FLOAT_BITS)
    if MOST_BITS < bits < FLOAT_BITS:
        raise fields.wrong(name, bits, f"{FEWEST_BITS} to {MOST_BITS}, or {FLOAT_BITS} for float")
    return bits
