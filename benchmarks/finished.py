"""The finished networks of a benchmark that runs one after the other: one JSON file for each."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def path_of(runs: Path, name: str) -> Path:
    """The file of a network, which exists once it is finished."""
    return runs / f"{name.replace(' ', '_')}.json"


def finished(runs: Path, names: Iterable[str]) -> list[dict[str, Any]]:
    """What the files of the finished networks hold, in the order of the names."""
    paths = (path_of(runs, name) for name in names)
    return [json.loads(path.read_text()) for path in paths if path.exists()]
