"""The folder of a training run, with its configuration, log, checkpoint and result."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from srquant.errors import OutputError
from srquant.files import is_temporary, remove_stale, write_whole

Configuration = Mapping[str, str]
"""Name and value of every setting that changes the result, as text."""


@dataclass(frozen=True)
class RunFolder:
    """Where a run keeps its files.

    Attributes:
        path: the folder; ``begin`` creates it.
    """

    path: Path

    @property
    def configuration(self) -> Path:
        """The settings that change the result, a JSON file."""
        return self.path / "configuration.json"

    @property
    def checkpoint(self) -> Path:
        """The full state of the run, a PyTorch file."""
        return self.path / "checkpoint.pt"

    @property
    def metrics(self) -> Path:
        """The log, a CSV file."""
        return self.path / "metrics.csv"

    @property
    def model(self) -> Path:
        """The trained network."""
        return self.path / "model.safetensors"

    @property
    def curves(self) -> Path:
        """The log as charts, a page."""
        return self.path / "curves.html"

    @property
    def tensorboard(self) -> Path:
        """The folder of TensorBoard's event files."""
        return self.path / "tensorboard"

    def check(self, wanted: Configuration) -> None:
        """Check, before any long work, whether a run with this configuration can start or continue in this folder.

        Raises:
            OutputError: the folder contains a run with another configuration, or other files.
        """
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise OutputError(f"{self.path} is a file: name the folder of the run")
        if not self.configuration.exists():
            if any(not is_temporary(path) for path in self.path.iterdir()):
                raise OutputError(f"{self.path} contains files, but no run: choose another folder")
            return
        changes = _changes(self._read_configuration(), wanted)
        if changes:
            raise OutputError(
                f"{self.path} contains a run with another configuration ({'; '.join(changes)}): give the same options "
                "to continue it, --overwrite to start again from step 0, or another folder"
            )

    def begin(self, wanted: Configuration, overwrite: bool) -> None:
        """Create the folder, and remove partly written files that a killed process left.

        With ``overwrite`` also remove an earlier run.

        Raises:
            OutputError: the folder can't be created, or as ``check``.
        """
        if overwrite and self.configuration.exists():
            for path in (self.checkpoint, self.metrics, self.curves, self.model, self.configuration):
                path.unlink(missing_ok=True)
            shutil.rmtree(self.tensorboard, ignore_errors=True)
        self.check(wanted)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            remove_stale(self.path)
            write_whole(self.configuration, (json.dumps(dict(wanted), indent=2) + "\n").encode())
        except OSError as error:
            raise OutputError(f"can't write {self.path}: {error.strerror}; choose another place") from error

    def _read_configuration(self) -> Configuration:
        try:
            found = json.loads(self.configuration.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise OutputError(
                f"can't read {self.configuration} ({error}): use --overwrite to start again from step 0"
            ) from error
        return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}


def _changes(was: Configuration, wanted: Configuration) -> list[str]:
    names = [*was, *(name for name in wanted if name not in was)]
    return [
        f"{name}: {was.get(name, 'not set')} -> {wanted.get(name, 'not set')}"
        for name in names
        if was.get(name) != wanted.get(name)
    ]
