"""The folder of finished runs: one JSON file each, and a manifest of the settings that all of them share."""

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ptq_origin import data_version
from ptq_run import Run, write

from srquant.errors import InputError

MANIFEST = "manifest.json"

BEFORE = {"granularity": "tensor", "activation_granularity": "tensor"}
"""What runs that don't say it had."""


class Store:
    """Finished runs below a folder.

    Args:
        folder: created if it is missing.
        pictures: folder that contains the weights and pictures of the runs.
        overrides: settings from the command line that replace those of the rows.

    Raises:
        InputError: the folder was made with other settings.
    """

    def __init__(self, folder: Path, pictures: Path, overrides: dict[str, Any]) -> None:
        self.folder = folder
        self.data = data_version(pictures)
        wanted = json.loads(json.dumps({**overrides, "data": self.data}))
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
        """Whether a run is finished, by any version of the code.

        Raises:
            InputError: it is finished, but with other settings, pictures or weights.
        """
        return self.read(run) is not None

    def result(self, run: Run) -> dict[str, Any] | None:
        """The result of a run; None if it isn't finished."""
        found = self.read(run)
        return None if found is None else found["result"]

    def code(self, run: Run) -> str | None:
        """Version of the code that made a run, as ``ptq_origin.code_version``; None if it isn't finished."""
        found = self.read(run)
        return None if found is None else found["code"]

    def read(self, run: Run) -> dict[str, Any] | None:
        """The whole content of a run's file: ``run``, ``data``, ``code`` and ``result``; None if it isn't finished.

        Raises:
            InputError: it is finished, but with other settings, pictures or weights.
        """
        path = self.path(run)
        if not path.exists():
            return None
        found = _finished(path)
        wanted = json.loads(json.dumps({**asdict(run), "data": self.data}))
        _same(wanted, {**BEFORE, **found["run"], "data": found["data"]}, path)
        return found


def _finished(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path} is no JSON ({error}): delete it, and it is made again") from None
    missing = {"run", "data", "code", "result"} - set(found)
    if missing:
        raise InputError(f"{path} has no {', '.join(sorted(missing))}: delete it, and it is made again")
    return found


def _same(wanted: dict[str, Any], found: dict[str, Any], path: Path) -> None:
    different = [name for name in sorted(wanted.keys() | found.keys()) if wanted.get(name) != found.get(name)]
    if different:
        changes = "; ".join(f"{name} was {found.get(name)!r}, now {wanted.get(name)!r}" for name in different)
        raise InputError(f"{path} was made with other settings: {changes}. Give another folder, or delete that file")
