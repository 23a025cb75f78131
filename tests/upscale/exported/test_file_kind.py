"""Files with the suffix of an exported model that are something else."""

import pytest
import torch
from PIL import Image

from srquant.errors import ExportedFileError
from srquant.upscale.exported.file_kind import check_kind

XML = b'<?xml version="1.0"?>\n<net name="Model0" version="11">'


@pytest.mark.parametrize("name", ["m.xml", "m.onnx"])
def test_a_picture_and_a_checkpoint(tmp_path, name):
    Image.new("RGB", (8, 8)).save(tmp_path / name, "PNG")
    with pytest.raises(ExportedFileError, match=rf"{name} is a picture \(PNG\), not an exported model"):
        check_kind(tmp_path / name)
    torch.save({"w": torch.ones(1)}, tmp_path / name)
    with pytest.raises(ExportedFileError, match=rf"{name} is a file of weights.*give it the suffix .pt"):
        check_kind(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("m.xml", b"", r"m\.xml: OpenVINO can't read it \(it is empty\)"),
        ("m.onnx", b"", r"m\.onnx: ONNX Runtime can't read it \(it is empty\)"),
        ("m.xml", b"<?xml version='1.0'?><svg/>", r"m\.xml: OpenVINO can't read it \(it has no element <net>\)"),
        ("m.xml", b"\x08\x09\x12\x07pytorch", r"m\.xml: OpenVINO can't read it \(it has no element <net>\)"),
        ("m.onnx", XML, r"m\.onnx is a model of OpenVINO; give it the suffix \.xml, with its \.bin beside it"),
    ],
)
def test_other_content(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ExportedFileError, match=says):
        check_kind(tmp_path / name)


def test_models_pass(tmp_path):
    (tmp_path / "m.xml").write_bytes(XML)
    (tmp_path / "m.onnx").write_bytes(b"\x08\x09\x12\x07pytorch")
    check_kind(tmp_path / "m.xml")
    check_kind(tmp_path / "m.onnx")


def test_folders_and_names_with_typing_errors(tmp_path):
    (tmp_path / "edsr_w4a4.xml").mkdir()
    with pytest.raises(ExportedFileError, match=r"edsr_w4a4\.xml is a folder; give a file in it"):
        check_kind(tmp_path / "edsr_w4a4.xml")
    with pytest.raises(ExportedFileError, match=r"edsr_w4a.xml: no such file; did you mean 'edsr_w4a4\.xml'"):
        check_kind(tmp_path / "edsr_w4a.xml")
