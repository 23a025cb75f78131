"""Networks that come with the package."""

from importlib.resources import files
from pathlib import Path

DEFAULT = "edsr_small_x2"
"""See ``assets/MODEL_CARD.md``."""


def packaged_models() -> dict[str, Path]:
    """Checkpoints in the package by name."""
    return {path.stem: path for path in sorted(Path(str(files("srquant"))).glob("assets/*.safetensors"))}


def find_model(path: Path) -> Path:
    """``path``, or the packaged checkpoint of that name where there is no such file."""
    return path if path.exists() else packaged_models().get(str(path), path)
