"""Networks that are installed with the package."""

from importlib.resources import files
from pathlib import Path

DEFAULT = "edsr_small_x2"
"""Name of the network that the demo uses; see ``assets/MODEL_CARD.md``."""


def packaged_models() -> dict[str, Path]:
    """Checkpoints in the package by name."""
    return {path.stem: path for path in sorted(Path(str(files("srquant"))).glob("assets/*.safetensors"))}


def find_model(path: Path) -> Path:
    """``path`` if it exists, else the packaged checkpoint of that name if there is one."""
    return path if path.exists() else packaged_models().get(str(path), path)
