"""Which weights a run starts from, independently of their path."""

import hashlib
from pathlib import Path


def start_identity(init: str) -> str:
    """Identifies the starting weights independently of their path: SHA-256 of the file, or the architecture's text."""
    from srquant.models.packaged import find_model

    path = find_model(Path(init))
    return f"sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}" if path.is_file() else init
