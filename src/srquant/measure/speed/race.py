"""Programs that upscale the same picture, each in a process of its own, timed in turns."""

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

EngineName = Literal["torch", "openvino", "onnxruntime"]


@dataclass(frozen=True)
class Contender:
    """One exported model and what runs it.

    Attributes:
        engine: name for the table.
        precision: of its convolutions, ``float32``, ``int8`` or ``mixed``.
        kind: what runs it.
        path: pickled network (``torch``), ``.xml``, or ``.onnx``.
    """

    engine: str
    precision: str
    kind: EngineName
    path: Path


@dataclass(frozen=True)
class Measured:
    """A contender's times and the peak memory of its process in bytes."""

    contender: Contender
    timing: Timing
    peak_memory: int


def measure(
    contenders: Sequence[Contender],
    height: int,
    width: int,
    threads: int,
    rounds: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Measured]:
    """Time one picture of ``height x width`` random pixels on each contender, in turns.

    Raises:
        EngineError: a contender can't run.
    """
    with ExitStack() as stack:
        workers = [stack.enter_context(warmed_up(c, height, width, threads)) for c in contenders]
        runs = {str(i): worker.run for i, worker in enumerate(workers)}
        timings = interleave(runs, rounds, progress).values()
        return [
            Measured(worker.contender, timing, worker.peak_memory())
            for worker, timing in zip(workers, timings, strict=True)
        ]


@contextmanager
def warmed_up(contender: Contender, height: int, width: int, threads: int) -> Iterator["Worker"]:
    """The process of one contender, which has run once."""
    arguments = [contender.kind, str(contender.path), str(height), str(width), str(threads)]
    command = [sys.executable, "-m", "srquant.measure.speed.worker", *arguments]
    with (
        tempfile.TemporaryFile("w+") as complaints,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, text=True
        ) as process,
    ):
        worker = Worker(contender, process, complaints)
        try:
            worker.answer()
            yield worker
        finally:
            process.kill()


@dataclass(frozen=True)
class Worker:
    """A process that runs one contender when told to."""

    contender: Contender
    process: "subprocess.Popen[str]"
    complaints: IO[str]

    def run(self) -> float:
        """Milliseconds of one inference."""
        return float(self._ask("run"))

    def peak_memory(self) -> int:
        """Most bytes that were resident so far."""
        return int(self._ask("memory"))

    def answer(self) -> str:
        """The next line that the process prints.

        Raises:
            EngineError: it has ended.
        """
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.complaints.seek(0)
            complaint = (self.complaints.read().strip().splitlines() or ["no reason given"])[-1]
            raise EngineError(f"{self.contender.engine} {self.contender.precision} can't run: {complaint}")
        return line

    def _ask(self, question: str) -> str:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(question + "\n")
            self.process.stdin.flush()
        return self.answer()
