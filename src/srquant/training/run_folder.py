"""The folder of a training run: its configuration, log, checkpoint and result."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from srquant.errors import OutputError
from srquant.files import is_temporary, remove_stale, write_whole

Configuration = Mapping[str, str]
"""All that decides the result, each as the user would write it."""


@dataclass(frozen=True)
class RunFolder:
    """Where a run keeps its files.

    Attributes:
        path: made when the run starts.
    """

    path: Path

    @property
    def configuration(self) -> Path:
        """What decides the result, JSON."""
        return self.path / "configuration.json"

    @property
    def checkpoint(self) -> Path:
        """The full state, PyTorch file."""
        return self.path / "checkpoint.pt"

    @property
    def metrics(self) -> Path:
        """One row per logged step."""
        return self.path / "metrics.csv"

    @property
    def model(self) -> Path:
        """The result."""
        return self.path / "model.safetensors"

    @property
    def tensorboard(self) -> Path:
        """Folder of event files."""
        return self.path / "tensorboard"

    def check(self, wanted: Configuration) -> None:
        """Find out before long work whether a run of this configuration can begin or continue here.

        Raises:
            OutputError: it holds a run of another configuration, or something else.
        """
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise OutputError(f"{self.path} is a file: name the folder of the run")
        if not self.configuration.exists():
            if any(not is_temporary(path) for path in self.path.iterdir()):
                raise OutputError(f"{self.path} holds files, but no run: choose another folder")
            return
        changes = _changes(self._read_configuration(), wanted)
        if changes:
            raise OutputError(
                f"{self.path} holds a run of another configuration ({'; '.join(changes)}): give the same to continue "
                "it, --overwrite to start anew, or another folder"
            )

    def begin(self, wanted: Configuration, overwrite: bool) -> None:
        """Make the folder, without what a killed process left half-written; with ``overwrite`` without any earlier run.

        Raises:
            OutputError: the folder can't be made, or as ``check``.
        """
        if overwrite and self.configuration.exists():
            for path in (self.checkpoint, self.metrics, self.model, self.configuration):
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
            raise OutputError(f"can't read {self.configuration} ({error}): use --overwrite to start anew") from error
        return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}


def _changes(was: Configuration, wanted: Configuration) -> list[str]:
    names = [*was, *(name for name in wanted if name not in was)]
    return [
        f"{name}: {was.get(name, 'not set')} -> {wanted.get(name, 'not set')}"
        for name in names
        if was.get(name) != wanted.get(name)
    ]
