"""The command line's verbs on tiny inputs: what each reads and writes, and how it runs in a process of its own."""

import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from abuse_attempt import network, pixels
from abuse_files import quantized_file
from PIL import Image
from safetensors.torch import save_file

from srquant.files import is_temporary

PICTURES = 6
LIBRARIES = (
    "srquant.cli",
    "srquant.cli.train_run",
    "srquant.cli.quantize_run",
    "srquant.methods.trained_registry",
    "srquant.upscale.engines.open_engine",
    "srquant.upscale.exported.write",
    "srquant.deploy.openvino.model",
    "srquant.deploy.onnx.model",
    "srquant.upscale.jobs.folder",
    "srquant.measure.quality.scores",
    "openvino",
    "onnxruntime",
    "onnxscript",
    "pyvips",
    "torch.export",
    "torch.onnx",
    "lightning_fabric.strategies.ddp",
)
"""Loaded once, in the process that all others are forks of."""

VERBS = {
    "quantize": "quantize {inputs}/float.safetensors --method mse -w 4 -a 4 --calibration {inputs}/set/HR --count 4 "
    "--patch 16 --head-bits 8 --tail-bits 8 -o {outputs}/quantized.safetensors",
    "distill": "quantize {inputs}/float.safetensors --method distill --set steps=12 --set batch=2 -w 3 -a 3 "
    "--calibration {inputs}/set/HR --count 4 --patch 16 -o {outputs}/distilled.safetensors",
    "train": "train --method float --init edsr:blocks=1,features=4,scale=2 --hr {inputs}/set/HR --steps 12 --batch 2 "
    "--patch 8 --ema 0.9 --log-every 1 --checkpoint-every 3 --device cpu -o {outputs}/run",
    "upscale": "upscale {inputs}/network.safetensors {inputs}/set/HR --engine torch --tile 16 -o {outputs}/large",
    "export, .xml": "export {inputs}/network.safetensors -o {outputs}/network.xml",
    "export, .onnx": "export {inputs}/network.safetensors -o {outputs}/network.onnx",
    "evaluate": "evaluate {inputs}/network.safetensors --data {inputs}/set --engine openvino "
    "--json {outputs}/scores.json",
}
"""What is typed behind ``srquant``."""

CHANGING = ("metrics.csv", ".srquant-done.jsonl", "scores.json", "configuration.json", "checkpoint.pt")
"""Names of files that hold seconds, or a state on the way: their content isn't that of an undisturbed run."""


@dataclass(frozen=True)
class Place:
    """Where one run of a verb works.

    Attributes:
        inputs: what all runs read.
        folder: of this run alone: its outputs, its cache and its temporary files.
    """

    inputs: Path
    folder: Path

    @property
    def outputs(self) -> Path:
        """What the verb writes."""
        return self.folder / "outputs"

    def arguments(self, verb: str) -> list[str]:
        """What is typed behind ``srquant``."""
        return VERBS[verb].format(inputs=self.inputs, outputs=self.outputs).split(" ")

    def contents(self) -> dict[str, bytes]:
        """All files of the folder, by their path in it; of those in ``CHANGING``, nothing but the name."""
        files = [path for path in sorted(self.folder.rglob("*")) if path.is_file()]
        return {
            str(path.relative_to(self.folder)): b"" if path.name in CHANGING else path.read_bytes() for path in files
        }


@dataclass
class Run:
    """A run that was started.

    Attributes:
        process: may be killed.
        output: what it prints.
    """

    process: BaseProcess
    output: Connection

    def end(self) -> tuple[int, str]:
        """Wait for its end; its exit code and all that it printed."""
        printed = b"".join(iter(lambda: os.read(self.output.fileno(), 2**16), b""))
        self.output.close()
        self.process.join()
        assert self.process.exitcode is not None
        return self.process.exitcode, printed.decode(errors="replace")


def make_inputs(folder: Path) -> None:
    """Write a float network, a quantized one, and a benchmark set whose pictures serve for all else."""
    save_file(network().module.state_dict(), folder / "float.safetensors")
    quantized_file(folder)
    (folder / "set" / "HR").mkdir(parents=True)
    for number in range(PICTURES):
        Image.fromarray(pixels(number, 32)).save(folder / "set" / "HR" / f"{number}.png")


def start(arguments: list[str], folder: Path, largest: int | None = None) -> Run:
    """Start ``srquant`` in a fork of a process that has loaded all libraries and computed nothing.

    Args:
        arguments: what is typed behind ``srquant``.
        folder: for the cache and for temporary files; created if missing.
        largest: bytes of the largest file that may be written; None: no limit.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(LIBRARIES))
    reading, writing = context.Pipe(duplex=False)
    process = context.Process(target=srquant, args=(arguments, folder, largest, writing))
    process.start()
    writing.close()
    return Run(process, reading)


def srquant(arguments: list[str], folder: Path, largest: int | None, output: Connection) -> None:
    """Be ``srquant`` with these arguments; ends the process."""
    from srquant.cli import main

    os.dup2(output.fileno(), 1)
    os.dup2(output.fileno(), 2)
    output.close()
    for name, part in (("SRQUANT_CACHE", "cache"), ("TMPDIR", "temporary")):
        (folder / part).mkdir(parents=True, exist_ok=True)
        os.environ[name] = str(folder / part)
    if largest is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    sys.argv = ["srquant", *arguments]
    main()


def run(verb: str, place: Place, *options: str, largest: int | None = None) -> tuple[int, str]:
    """Run a verb to its end: its exit code and what it printed."""
    return start([*place.arguments(verb), *options], place.folder, largest).end()


class WrongEnd(Exception):
    """A run did not end as it should, or left other files than it should."""


class Undisturbed:
    """What each verb writes, and how long that takes, when nothing disturbs it.

    Args:
        folder: empty.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.inputs = folder, folder / "inputs"
        self.inputs.mkdir()
        make_inputs(self.inputs)
        start(["--version"], folder / "first").end()  # loads libraries
        self.contents: dict[str, dict[str, bytes]] = {}
        self.seconds: dict[str, float] = {}

    @contextmanager
    def place(self, verb: str) -> Iterator[Place]:
        """A place for a run of a verb, gone after the block; before the first one the verb runs in peace."""
        if verb not in self.contents:
            self._run_in_peace(verb)
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            yield Place(self.inputs, Path(folder))

    def check_whole(self, verb: str, place: Place) -> None:
        """Check that every file with a final name is as in peace; others must have names of temporary ones.

        Raises:
            WrongEnd: a file is half-written, or has a name that it shouldn't have.
        """
        for name, content in place.contents().items():
            if not is_temporary(Path(name)) and self.contents[verb].get(name) != content:
                raise WrongEnd(f"{verb}: {name} has {len(content)} bytes that an undisturbed run doesn't write")

    def check_same(self, verb: str, place: Place) -> None:
        """Check that the files are those of a run in peace, and that there are no others.

        Raises:
            WrongEnd: otherwise.
        """
        found, wanted = place.contents(), self.contents[verb]
        if found != wanted:
            names = sorted(name for name in found | wanted if found.get(name) != wanted.get(name))
            raise WrongEnd(f"{verb}: differ from those of an undisturbed run: {', '.join(names)}")

    def finish(self, verb: str, place: Place) -> None:
        """Run the verb again, which must make what a run in peace makes; with ``--overwrite`` if it asks for that.

        Raises:
            WrongEnd: otherwise.
        """
        code, printed = run(verb, place)
        if code and "use --overwrite to replace it" in printed:
            code, printed = run(verb, place, "--overwrite")
        if code:
            raise WrongEnd(f"{verb}, run again: exit code {code}: {printed}")
        self.check_same(verb, place)

    def _run_in_peace(self, verb: str) -> None:
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            place, started = Place(self.inputs, Path(folder)), time.perf_counter()
            code, printed = run(verb, place)
            if code:
                raise WrongEnd(f"{verb}: exit code {code}: {printed}")
            self.seconds[verb], self.contents[verb] = time.perf_counter() - started, place.contents()


def check_refused(verb: str, code: int, printed: str) -> None:
    """Check that a run was refused in one line.

    Raises:
        WrongEnd: otherwise.
    """
    last = printed.rstrip().rpartition("\n")[2]
    if code not in (1, 2) or not last.startswith("srquant: ") or "Traceback" in printed:
        raise WrongEnd(f"{verb}: exit code {code}: {printed}")
