"""``ptq_runs.json``: all finished runs in one file beside the tables, from which a folder of runs can be restored."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ptq_run import Run, write
from ptq_store import BEFORE, Store

from srquant.errors import InputError

NAME = "ptq_runs.json"

LEFT_OUT = ("layers", "effective", "sentence")
"""Parts of a run's result that no table uses: the codes of every layer, and sentences made from other parts."""

UNKNOWN = "unknown"
"""Version of the code of runs that were restored from the means in ``ptq.json``, because their files were lost."""


def collect(runs: Iterable[Run], store: Store, folder: Path, name: str = NAME) -> None:
    """Write the finished runs into one file of a folder, one line each."""
    lines = [json.dumps(_shortened(found)) for found in map(store.read, runs) if found is not None]
    (folder / name).write_text("[\n" + ",\n".join(lines) + "\n]\n")


def restore(runs: Iterable[Run], store: Store, folder: Path, name: str = NAME) -> list[Run]:
    """Write the files of runs that are in the folder's file ``name`` and not in the store.

    Only runs whose settings are still the same are restored; returns the runs that aren't there afterwards.

    Raises:
        InputError: the folder has no such file, or a run was made with other pictures or weights.
    """
    path = folder / name
    if not path.exists():
        raise InputError(f"{path} is missing: give the folder that --assemble wrote to")
    saved = {_settings(found["run"]): found for found in json.loads(path.read_text())}
    if any(found["data"] != store.data for found in saved.values()):
        raise InputError(f"{path} was made with other pictures or weights: set SRQUANT_SHARED to their folder")
    missing = [run for run in runs if not store.path(run).exists()]
    for run in missing:
        found = saved.get(_settings(asdict(run)))
        if found is not None:
            write(found, store.path(run))
    return [run for run in missing if not store.has(run)]


def _shortened(found: dict[str, Any]) -> dict[str, Any]:
    return found | {"result": {name: value for name, value in found["result"].items() if name not in LEFT_OUT}}


def _settings(run: dict[str, Any]) -> str:
    return json.dumps(BEFORE | run, sort_keys=True)
