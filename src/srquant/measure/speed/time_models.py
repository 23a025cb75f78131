"""Time exported models on the same picture, in turns, each in a separate process."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from srquant.errors import EngineError
from srquant.measure.speed.timing import Timing, interleave

EngineName = Literal["torch", "openvino", "openvino-bf16", "onnxruntime"]


@dataclass(frozen=True)
class ExportedModel:
    """One exported model and the program that runs it.

    Attributes:
        engine: name for the table.
        precision: of its convolutions, ``float32``, ``bfloat16``, ``int8`` or ``mixed``.
        kind: the program that runs it; ``openvino-bf16`` computes in bfloat16 where nothing is quantized.
        path: pickled network (``torch``), ``.xml``, or ``.onnx``.
        device: where it runs; only ``torch`` runs on other devices than the CPU.
    """

    engine: str
    precision: str
    kind: EngineName
    path: Path
    device: str = "cpu"


@dataclass(frozen=True)
class Measured:
    """A model's times, and its peak memory in bytes: of its process, on CUDA of the device."""

    model: ExportedModel
    timing: Timing
    peak_memory: int


def time_models(
    models: Sequence[ExportedModel],
    height: int,
    width: int,
    threads: int,
    rounds: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Measured]:
    """Time each model on one picture of ``height x width`` random pixels, in turns.

    Raises:
        EngineError: a model can't run.
    """
    with ExitStack() as stack:
        workers = [stack.enter_context(warmed_up(model, height, width, threads)) for model in models]
        runs = {str(i): worker.run for i, worker in enumerate(workers)}
        timings = interleave(runs, rounds, progress).values()
        return [
            Measured(worker.model, timing, worker.peak_memory())
            for worker, timing in zip(workers, timings, strict=True)
        ]


@contextmanager
def warmed_up(model: ExportedModel, height: int, width: int, threads: int) -> Iterator["Worker"]:
    """The process of one model, after one run to warm up."""
    arguments = [model.kind, str(model.path), str(height), str(width), str(threads), model.device]
    command = [sys.executable, "-m", "srquant.measure.speed.worker", *arguments]
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        worker = Worker(model, process, errors)
        try:
            worker.answer()
            yield worker
        finally:
            process.kill()


@dataclass(frozen=True)
class Worker:
    """A process that runs one model on request; see ``worker.py``."""

    model: ExportedModel
    process: "subprocess.Popen[str]"
    errors: IO[str]

    def run(self) -> float:
        """Milliseconds of one inference."""
        return float(self._request("run"))

    def peak_memory(self) -> int:
        """Peak memory so far in bytes, see ``Measured``."""
        return int(self._request("memory"))

    def answer(self) -> str:
        """The next line that the process prints.

        Raises:
            EngineError: the process has ended.
        """
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            reason = (self.errors.read().strip().splitlines() or ["no reason given"])[-1]
            raise EngineError(f"{self.model.engine} {self.model.precision} can't run: {reason}")
        return line

    def _request(self, command: str) -> str:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
        return self.answer()
