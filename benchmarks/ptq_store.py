"""The folder of finished runs: one JSON file each, and a manifest of what all of them share."""

import hashlib
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ptq_run import Run, write

from srquant.errors import InputError

MANIFEST = "manifest.json"


class Store:
    """Finished runs below a folder.

    Args:
        folder: made where it is missing.
        pictures: below which runs find weights and pictures.
        overrides: what was asked for on the command line in place of the rows' own settings.

    Raises:
        InputError: the folder was made with other settings.
    """

    def __init__(self, folder: Path, pictures: Path, overrides: dict[str, Any]) -> None:
        self.folder = folder
        wanted = json.loads(json.dumps({**overrides, "data": _fingerprint(pictures)}))
        manifest = folder / MANIFEST
        if manifest.exists():
            _same(wanted, json.loads(manifest.read_text()), manifest)
        else:
            write(wanted, manifest)

    def path(self, run: Run) -> Path:
        """Where a run's result is, or will be."""
        slug = re.sub(r"[^a-z0-9]+", "-", run.label.lower().replace("*", "-star").replace("+", "-plus-")).strip("-")
        return self.folder / run.network / f"{slug}_{run.bits}bit_seed{run.seed}.json"

    def has(self, run: Run) -> bool:
        """Whether a run is finished.

        Raises:
            InputError: it is, but with other settings.
        """
        path = self.path(run)
        if not path.exists():
            return False
        _same(json.loads(json.dumps(asdict(run))), json.loads(path.read_text())["run"], path)
        return True

    def result(self, run: Run) -> dict[str, Any] | None:
        """What a run gave; None where it isn't finished."""
        if not self.has(run):
            return None
        result: dict[str, Any] = json.loads(self.path(run).read_text())["result"]
        return result


def _same(wanted: dict[str, Any], found: dict[str, Any], path: Path) -> None:
    different = [name for name in sorted(wanted.keys() | found.keys()) if wanted.get(name) != found.get(name)]
    if different:
        changes = "; ".join(f"{name} was {found.get(name)!r}, now {wanted.get(name)!r}" for name in different)
        raise InputError(f"{path} was made with other settings: {changes}. Give another folder, or delete that file")


def _fingerprint(pictures: Path) -> str:
    """Names and sizes of all pictures and weights; low-resolution ones of benchmark sets are made where they miss."""
    files = sorted(
        path
        for pattern in ("weights/**/*", "data/*/HR/*", "data/DIV2K_test_LR/**/*")
        for path in pictures.glob(pattern)
        if path.is_file()
    )
    listing = "\n".join(f"{path.relative_to(pictures)} {path.stat().st_size}" for path in files)
    return hashlib.sha256(listing.encode()).hexdigest()[:16]
