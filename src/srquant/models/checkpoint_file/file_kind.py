"""What a file is, by its first bytes, where it isn't a file of weights."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

from srquant.errors import CheckpointError

MODEL_SUFFIXES = (".pt", ".pth", ".ckpt", ".safetensors", ".xml", ".onnx")
"""Of files that may be given as MODEL."""

PICTURES: Mapping[bytes, str] = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF8": "GIF",
    b"RIFF": "WebP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"BM": "BMP",
}
"""Formats of pictures by the first bytes."""

OTHERS: Mapping[bytes, tuple[str, str]] = {
    b"<!DOCTYPE": ("a web page", "download the checkpoint itself"),
    b"<!doctype": ("a web page", "download the checkpoint itself"),
    b"<html": ("a web page", "download the checkpoint itself"),
    b"<?xml": ("an XML file", "a model that was exported to OpenVINO needs the suffix .xml"),
    b"version https://git-lfs": ("a pointer of Git LFS", "run git lfs pull to get the checkpoint itself"),
    b"\x89HDF": ("an HDF5 file", "convert it with the tool that wrote it to a PyTorch state dict"),
    **{bytes((8, version, 18)): ("an ONNX model", "give it the suffix .onnx") for version in range(3, 15)},
    b"GGUF": ("a GGUF file", "convert it to a PyTorch state dict"),
    b"\x1f\x8b": ("compressed with gzip", "unpack it first"),
    b"7z\xbc\xaf": ("a 7z archive", "unpack it first"),
    b"Rar!": ("a RAR archive", "unpack it first"),
}
"""What else a file is by the first bytes, and the next step."""

ZIP = b"PK\x03\x04"
PICKLE = (ZIP, b"\x80\x02")
"""First bytes of files that ``torch.save`` writes."""


def first_bytes(path: Path, count: int = 32) -> bytes:
    """The first bytes of a file.

    Raises:
        CheckpointError: it can't be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError as error:
        raise CheckpointError(f"{path} can't be read: {error.strerror}; check its permissions") from error


def files_in(folder: Path) -> list[str]:
    """Names of the files in a folder; empty where it can't be read."""
    try:
        return [path.name for path in folder.iterdir()]
    except OSError:
        return []


def is_safetensors(start: bytes) -> bool:
    """Whether a file with these first bytes has the form of safetensors: 8 bytes for a length, then JSON."""
    return start[8:9] == b"{"


def picture_format(path: Path) -> str | None:
    """The format of a picture by its first bytes; None where there is no file, or one of another kind."""
    start = first_bytes(path) if path.is_file() else b""
    if is_safetensors(start):
        return None
    if start[4:8] == b"ftyp":
        return "AVIF or HEIC"
    return next((name for magic, name in PICTURES.items() if start.startswith(magic)), None)


def refuse_other_kinds(path: Path) -> None:
    """Raise a ``CheckpointError`` where a file is known to be something else than weights."""
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; give a file in it{_models_in(path)}")
    if not path.is_file():
        raise CheckpointError(f"{path} is no regular file; give a checkpoint (.pt, .pth, .safetensors)")
    _refuse_content(path, first_bytes(path))
    _refuse_suffix(path, first_bytes(path))


def _refuse_content(path: Path, start: bytes) -> None:
    if not start:
        raise CheckpointError(f"{path} is empty (0 bytes), so it is damaged or truncated; copy the file again")
    picture = picture_format(path)
    if picture is not None:
        raise CheckpointError(f"{path} is a picture ({picture}), not a PyTorch checkpoint; give the model here")
    for magic, (kind, step) in OTHERS.items():
        if start.startswith(magic) and not is_safetensors(start):
            raise CheckpointError(f"{path} is {kind}, not a PyTorch checkpoint; {step}")


def _refuse_suffix(path: Path, start: bytes) -> None:
    if path.suffix == ".safetensors" and start.startswith(PICKLE):
        raise CheckpointError(f"{path} is a PyTorch file, not safetensors; rename it to {path.with_suffix('.pt').name}")
    if path.suffix == ".bin" and path.with_suffix(".xml").is_file():
        raise CheckpointError(f"{path} holds weights of an OpenVINO model; give {path.with_suffix('.xml').name}")


def refuse_other_archives(path: Path) -> None:
    """Raise a ``CheckpointError`` where a zip archive is not what ``torch.save`` writes."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith("/constants.pkl") for name in names):
        raise CheckpointError(
            f"{path} is a TorchScript program, not a state dict; load it with torch.jit.load and save its state_dict()"
        )
    if not any(name.endswith("/data.pkl") for name in names):
        raise CheckpointError(
            f"{path} is a zip archive ({', '.join(names[:3])}, ...), not a PyTorch checkpoint; unpack it first"
        )


def _models_in(folder: Path) -> str:
    """The end of a message: files in a folder that may be models."""
    names = sorted(name for name in files_in(folder) if name.endswith(MODEL_SUFFIXES))
    return f", such as {', '.join(names[:3])}" if names else ""
