"""Training in several processes, on one machine or many, through Lightning Fabric."""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

import torch
from torch import distributed

from srquant.devices import find_device
from srquant.errors import InputError, TrainingError, first_line

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Precision = Literal["32", "bf16"]
PRECISIONS: tuple[Precision, ...] = ("32", "bf16")

LONGEST_WAIT = timedelta(hours=1)
"""How long a process waits for another one that is still running, e.g. while the first one validates."""

POLL_SECONDS = 0.2
"""Seconds between two checks whether the other processes are still running."""

SECONDS_UNTIL_KILLED = 60
"""After an error, how long a process waits for the main process to report the error and kill it."""

_KILLING_CHILDREN = threading.Event()
"""Set when this process kills those that it started, so that their end isn't reported as an error."""

MAIN_PROCESS = "SRQUANT_MAIN_PROCESS"
"""Environment variable: id of the main process of this machine, which started the others."""


@dataclass(frozen=True)
class Processes:
    """The processes and devices of a training run.

    Attributes:
        devices: number of processes per machine, with one device each.
        nodes: number of machines.
        accelerator: name of the device, as ``find_device`` takes it; one with a number is for one process.
        precision: ``bf16`` computes convolutions and matrix products in bfloat16; parameters stay float32.

    Raises:
        InputError: a value out of range, or a device that this machine doesn't have.
    """

    devices: int = 1
    nodes: int = 1
    accelerator: str = "auto"
    precision: Precision = "32"

    def __post_init__(self) -> None:
        if min(self.devices, self.nodes) < 1:
            raise InputError(f"--devices {self.devices} --num-nodes {self.nodes}: use at least 1 each")
        if self.precision not in PRECISIONS:
            raise InputError(f"--precision {self.precision}: use {' or '.join(PRECISIONS)}")
        device = find_device(self.accelerator)
        if device.type == "mps" and self.count > 1:
            raise InputError(f"--devices {self.devices} --num-nodes {self.nodes}: mps computes in one process")
        if device.index is not None and self.devices > 1:
            raise InputError(f"--device {self.accelerator} --devices {self.devices}: leave out the device's number")
        if device.type == "cuda" and torch.cuda.device_count() < self.devices:
            raise InputError(f"--devices {self.devices}: this machine has {torch.cuda.device_count()} CUDA devices")

    @property
    def count(self) -> int:
        """Number of all processes."""
        return self.devices * self.nodes

    @property
    def device(self) -> str:
        """``cpu``, ``cuda`` or ``mps``."""
        return find_device(self.accelerator).type

    @property
    def fabric_devices(self) -> int | list[int]:
        """The devices of this machine as Fabric takes them: how many, or the number of the one that was named."""
        number = find_device(self.accelerator).index
        return self.devices if number is None else [number]


def launch(processes: Processes, find_unused_parameters: bool = True) -> "Fabric":
    """Start the other processes of this machine with the same command line, and connect all processes.

    Args:
        processes: their number and devices.
        find_unused_parameters: see ``Student``.

    Raises:
        InputError: the launcher (torchrun, SLURM) has started a different number of processes.
        TrainingError: they can't connect.
    """
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.ddp import DDPStrategy

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    strategy = DDPStrategy(find_unused_parameters=find_unused_parameters, timeout=LONGEST_WAIT)
    fabric = Fabric(
        accelerator=processes.device,
        devices=processes.fabric_devices,
        num_nodes=processes.nodes,
        strategy=strategy if processes.count > 1 else "auto",
        precision="bf16-mixed" if processes.precision == "bf16" else "32-true",
    )
    if processes.count > 1:
        _watch(fabric)
    try:
        fabric.launch()
    except ValueError as error:
        raise InputError(f"--devices {processes.devices} --num-nodes {processes.nodes}: {error}") from error
    except distributed.DistError as error:
        raise TrainingError(f"the processes can't connect: {error}; check the network between them") from error
    return fabric


@contextlib.contextmanager
def connection_errors(step: int, where: str) -> Iterator[None]:
    """If the connection to another process fails inside the block, raise a ``TrainingError`` with the next step."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, distributed.DistError) or "gloo" in str(error) or "NCCL" in str(error):
            raise TrainingError(
                how_to_continue(f"step {step} lost another process ({first_line(error):.120})", where)
            ) from error
        raise


def how_to_continue(what: str, where: str) -> str:
    """The message about a lost process."""
    return f"{what}; find out why in its output, then give the same command to continue from {where}"


@contextlib.contextmanager
def one_error_message(fabric: "Fabric") -> Iterator[None]:
    """Make only the main process report a ``TrainingError`` that all processes raise; it also kills the others."""
    try:
        yield
    except TrainingError:
        if os.environ.get(MAIN_PROCESS, str(os.getpid())) != str(os.getpid()):
            time.sleep(SECONDS_UNTIL_KILLED)
        _KILLING_CHILDREN.set()
        for child in _children(fabric):
            child.kill()
        raise


def disconnect() -> None:
    """Close the connection between the processes, if there is one."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


@contextlib.contextmanager
def expected_warnings_hidden() -> Iterator[None]:
    """Hide warnings of Fabric and PyTorch about several processes that are expected here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*find_unused_parameters=True was specified.*")
        warnings.filterwarnings("ignore", message=".*barrier\\(\\): using the device under current context.*")
        yield


def _watch(fabric: "Fabric") -> None:
    """End this process as soon as another process of the run on this machine has ended with an error.

    Otherwise collective operations would wait for that process until the timeout.
    """
    main = os.environ.setdefault(MAIN_PROCESS, str(os.getpid()))
    if main != str(os.getpid()):
        threading.Thread(target=_watch_main, args=(int(main),), daemon=True).start()
        return
    threading.Thread(target=_watch_children, args=(_children(fabric),), daemon=True).start()


def _children(fabric: "Fabric") -> list[subprocess.Popen[bytes]]:
    """The processes that this one has started; ``launch`` appends to this list."""
    children: list[subprocess.Popen[bytes]] = getattr(fabric.strategy.launcher, "procs", [])
    return children


def _watch_children(children: list[subprocess.Popen[bytes]]) -> None:
    while not _KILLING_CHILDREN.is_set():
        time.sleep(POLL_SECONDS)
        for rank, child in enumerate(children, 1):
            if child.poll() and not _KILLING_CHILDREN.is_set():
                _end_run(f"process {rank} ({child.pid}) {_exit_reason(child.returncode)}", children)


def _watch_main(main: int) -> None:
    while os.getppid() == main:
        time.sleep(POLL_SECONDS)
    os._exit(1)


def _end_run(what: str, children: list[subprocess.Popen[bytes]]) -> None:
    for child in children:
        child.kill()
    print(f"srquant: {how_to_continue(what, 'the last checkpoint')}", file=sys.stderr, flush=True)
    os._exit(1)


def _exit_reason(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
