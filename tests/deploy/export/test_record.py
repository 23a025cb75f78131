"""Facts in exported files are checked field by field."""

import json

import pytest

from srquant.deploy.export.record import LayerRecord, Record, read_record
from srquant.errors import ExportedFileError

RECORD = Record(
    architecture="edsr",
    scale=2,
    smallest=1,
    multiple_of=4,
    overlap=7,
    alignment=4,
    bytes_per_pixel=1000,
    tiles_exact=True,
    fab=4.5,
    layers=(LayerRecord("head", "conv", 32, 32), LayerRecord("body.0", "linear", 4, 8)),
)
VALUES = json.loads(RECORD.to_json())


def test_what_is_written_is_read():
    assert read_record(RECORD.to_json()) == RECORD
    assert [layer.name for layer in RECORD.quantized] == ["body.0"]


@pytest.mark.parametrize("name", VALUES)
def test_every_field_is_needed(name):
    with pytest.raises(ExportedFileError, match=f"'{name}' is missing"):
        read_record(json.dumps({key: value for key, value in VALUES.items() if key != name}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("version", 2),
        ("architecture", 3),
        ("scale", 0),
        ("scale", 2.0),
        ("scale", 10**9),
        ("smallest", 0),
        ("multiple_of", -4),
        ("overlap", -1),
        ("alignment", 0),
        ("bytes_per_pixel", 0),
        ("bytes_per_pixel", 2**40),
        ("tiles_exact", 1),
        ("fab", 1.0),
        ("fab", float("nan")),
        ("layers", {}),
    ],
)
def test_impossible_values_are_named(name, value):
    with pytest.raises(ExportedFileError, match=f"'{name}' is "):
        read_record(json.dumps(VALUES | {name: value}))


@pytest.mark.parametrize(
    ("name", "value"),
    [("name", 1), ("kind", "pool"), ("weight_bits", 1), ("weight_bits", 9), ("activation_bits", 33)],
)
def test_impossible_layers_are_named(name, value):
    layer = {"name": "a", "kind": "conv", "weight_bits": 8, "activation_bits": 8} | {name: value}
    with pytest.raises(ExportedFileError, match=f"layer: field '{name}' is "):
        read_record(json.dumps(VALUES | {"layers": [layer]}))


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, json.dumps(VALUES | {"code": "import os"})])
def test_other_text_is_refused(text):
    with pytest.raises(ExportedFileError, match="what srquant wrote about the network is damaged"):
        read_record(text)
