"""What is given in the place of a checkpoint is named, with the next step."""

import os
import zipfile

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from srquant.models.checkpoint_file.file_kind import picture_format
from srquant.models.load import load_model


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WebP", "TIFF", "BMP"])
@pytest.mark.parametrize("name", ["a", "a.pt", "a.safetensors"])
def test_pictures(tmp_path, complaint, kind, name):
    Image.new("RGB", (8, 8)).save(tmp_path / name, kind)
    assert complaint(tmp_path / name) == f"is a picture ({kind}), not a PyTorch checkpoint; give the model here"
    assert picture_format(tmp_path / name) == kind


CONTENT = {
    b"<!DOCTYPE html><html>": "is a web page, not a PyTorch checkpoint; download the checkpoint itself",
    b"version https://git-lfs.github.com/spec/v1\noid": "is a pointer of Git LFS, .*run git lfs pull",
    b'<?xml version="1.0"?><net name="Model0" version="11">': "is an XML file, .*needs the suffix .xml",
    b"\x89HDF\r\n\x1a\n": "is an HDF5 file.*convert it",
    b"\x1f\x8b\x08\0": "is compressed with gzip.*unpack it first",
    b"\x08\x09\x12\x07pytorch": "is an ONNX model.*give it the suffix .onnx",
    b"": "is empty",
}


@pytest.mark.parametrize(("content", "words"), CONTENT.items(), ids=range(len(CONTENT)))
def test_other_files(tmp_path, content, words):
    (tmp_path / "net.pt").write_bytes(content)
    with pytest.raises(ValueError, match=f"net.pt {words}"):
        load_model(tmp_path / "net.pt")


def test_a_pickle_named_safetensors(weights, tmp_path, complaint):
    for zipped in (True, False):
        torch.save(weights, tmp_path / "net.safetensors", _use_new_zipfile_serialization=zipped)
        assert complaint(tmp_path / "net.safetensors") == "is a PyTorch file, not safetensors; rename it to net.pt"


@pytest.mark.filterwarnings("ignore")
def test_a_torchscript_program(tmp_path, complaint):
    torch.jit.save(torch.jit.script(torch.nn.Conv2d(3, 3, 3)), tmp_path / "net.pt")
    assert complaint(tmp_path / "net.pt").startswith("is a TorchScript program, not a state dict; load it with")


def test_another_zip_archive(tmp_path, complaint):
    with zipfile.ZipFile(tmp_path / "net.pt", "w") as archive:
        archive.writestr("net/weights.pth", b"x")
    assert complaint(tmp_path / "net.pt").startswith("is a zip archive (net/weights.pth, ...)")


def test_folders(tmp_path, complaint):
    assert complaint(tmp_path) == "is a folder; give a file in it"
    (tmp_path / "net.pth").touch()
    (tmp_path / "notes.txt").touch()
    assert complaint(tmp_path) == "is a folder; give a file in it, such as net.pth"


def test_weights_of_an_openvino_model(tmp_path, complaint):
    (tmp_path / "net.bin").write_bytes(bytes(64))
    (tmp_path / "net.xml").touch()
    assert complaint(tmp_path / "net.bin") == "holds weights of an OpenVINO model; give net.xml"


def test_neither_file_nor_folder(tmp_path, complaint):
    os.mkfifo(tmp_path / "pipe.pt")
    assert "is no regular file" in complaint(tmp_path / "pipe.pt")


def test_names_with_a_typing_error(tmp_path, complaint, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "edsr_baseline.pth").touch()
    assert complaint(type(tmp_path)("edsr_smal_x2")) == "no such file; did you mean 'edsr_small_x2'?"
    assert complaint(tmp_path / "edsr_basline.pth") == "no such file; did you mean 'edsr_baseline.pth'?"
    assert complaint(tmp_path / "zzz.pth") == "no such file; give a checkpoint (.pt, .pth, .safetensors)"
    assert complaint(tmp_path / "none" / "a.pth") == "no such file; give a checkpoint (.pt, .pth, .safetensors)"


@pytest.mark.parametrize("start", [b"BM", b"\x1f\x8b"])
def test_a_header_as_long_as_other_files_begin(weights, tmp_path, start):
    """safetensors begins with the length of its header, whose bytes may be those of a BMP."""
    wanted = int.from_bytes(start, "little")
    save_file(weights, tmp_path / "net.safetensors")
    content = (tmp_path / "net.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + length].ljust(wanted)
    (tmp_path / "net.safetensors").write_bytes(wanted.to_bytes(8, "little") + header + content[8 + length :])
    assert load_model(tmp_path / "net.safetensors").facts.scale == 2


def test_a_file_that_may_not_be_read(weights, tmp_path, complaint, monkeypatch):
    def refuse(*arguments):
        raise PermissionError(13, "Permission denied")

    torch.save(weights, tmp_path / "net.pt")
    monkeypatch.setattr(type(tmp_path), "open", refuse)
    assert complaint(tmp_path / "net.pt") == "can't be read: Permission denied; check its permissions"
