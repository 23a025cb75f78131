"""What a file with the suffix of an exported model is, by its first bytes, where it is something else."""

from pathlib import Path

from srquant.errors import ExportedFileError, suggest
from srquant.models.checkpoint_file.file_kind import PICKLE, files_in, first_bytes, is_safetensors, picture_format

ROOT = b"<net"
"""The first element of a model of OpenVINO."""

LOOKED_AT = 4096
"""Bytes of a file in which ``ROOT`` is looked for."""


def check_kind(path: Path) -> None:
    """Check, before an engine is loaded, that a file can be a model of its suffix.

    Raises:
        ExportedFileError: missing, a folder, empty, a picture, a checkpoint, or a model of the other engine.
    """
    if path.is_dir():
        raise ExportedFileError(f"{path} is a folder; give a file in it")
    if not path.is_file():
        raise ExportedFileError(f"{path}: no such file; {_instead(path)}")
    start = first_bytes(path, LOOKED_AT)
    other = _other_kind(path, start)
    if other is not None:
        raise ExportedFileError(f"{path} is {other}")
    if not start:
        raise ExportedFileError(f"{path}: {_reader(path)} can't read it (it is empty); export it again")
    if path.suffix.lower() == ".xml" and ROOT not in start:
        raise ExportedFileError(f"{path}: OpenVINO can't read it (it has no element <net>); export it again")


def _other_kind(path: Path, start: bytes) -> str | None:
    """What else a file is, and the next step; None if it is nothing that is known."""
    picture = picture_format(path)
    if picture is not None:
        return f"a picture ({picture}), not an exported model; give the model here"
    if start.startswith(PICKLE) or is_safetensors(start):
        return "a file of weights, not an exported model; give it the suffix .pt or .safetensors that it had"
    if path.suffix.lower() == ".onnx" and ROOT in start:
        return "a model of OpenVINO; give it the suffix .xml, with its .bin beside it"
    return None


def _reader(path: Path) -> str:
    return "OpenVINO" if path.suffix.lower() == ".xml" else "ONNX Runtime"


def _instead(path: Path) -> str:
    """What to give in the place of a missing file: files of similar names, or what it should be."""
    advice = suggest(path.name, files_in(path.parent))
    return advice if advice.startswith("did you mean") else "give an exported model: .xml with its .bin, or .onnx"
