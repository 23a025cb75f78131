"""The command line's verbs on tiny inputs: what each reads and writes, and how it runs in a process of its own."""

import multiprocessing
import os
import resource
import sys
import tempfile
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from abuse_attempt import network, pixels
from abuse_files import quantized_file
from PIL import Image
from safetensors.torch import save_file

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
    "export-xml": "export {inputs}/network.safetensors -o {outputs}/network.xml",
    "export-onnx": "export {inputs}/network.safetensors -o {outputs}/network.onnx",
    "evaluate": "evaluate {inputs}/network.safetensors --data {inputs}/set --engine openvino "
    "--json {outputs}/scores.json",
}
"""What is typed behind ``srquant``."""


@dataclass(frozen=True)
class Place:
    """Where runs of a verb work.

    Attributes:
        inputs: what they read.
        folder: of these runs alone: their outputs, their cache and their temporary files.
    """

    inputs: Path
    folder: Path

    @property
    def outputs(self) -> Path:
        """What the verb writes."""
        return self.folder / "outputs"

    @property
    def temporary(self) -> Path:
        """The verb's folder for temporary files."""
        return self.folder / "temporary"

    def arguments(self, verb: str) -> list[str]:
        """What is typed behind ``srquant``."""
        return [word.format(inputs=self.inputs, outputs=self.outputs) for word in VERBS[verb].split()]


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
    tempfile.tempdir = None  # forget the one of the process that this is a fork of
    if largest is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    sys.argv = ["srquant", *arguments]
    main()


def run(verb: str, place: Place, *options: str, largest: int | None = None) -> tuple[int, str]:
    """Run a verb to its end: its exit code and what it printed."""
    return start([*place.arguments(verb), *options], place.folder, largest).end()
