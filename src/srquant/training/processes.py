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

from srquant.errors import InputError, TrainingError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Accelerator = Literal["auto", "cpu", "cuda"]
Precision = Literal["32", "bf16"]
ACCELERATORS: tuple[Accelerator, ...] = ("auto", "cpu", "cuda")
PRECISIONS: tuple[Precision, ...] = ("32", "bf16")

LONGEST_WAIT = timedelta(hours=1)
"""How long a process waits for another one that is alive, e.g. for the first one to validate."""

LOOK_EVERY = 0.2
"""Seconds between two looks at whether the other processes live."""

LONGEST_TALK = 60
"""Seconds that a process leaves to the one that started it to end it."""

_ENDING = threading.Event()
"""Set when this process ends those that it started, which is no loss then."""

MAIN_PROCESS = "SRQUANT_MAIN_PROCESS"
"""Environment variable: id of the process that started this one."""


@dataclass(frozen=True)
class Processes:
    """What to train on.

    Attributes:
        devices: processes per machine, one device each.
        nodes: machines.
        accelerator: ``auto`` is cuda where there is one.
        precision: ``bf16`` computes convolutions and products in bfloat16, parameters stay float32.

    Raises:
        InputError: a value out of range, or a device that this machine doesn't have.
    """

    devices: int = 1
    nodes: int = 1
    accelerator: Accelerator = "auto"
    precision: Precision = "32"

    def __post_init__(self) -> None:
        if min(self.devices, self.nodes) < 1:
            raise InputError(f"--devices {self.devices} --num-nodes {self.nodes}: use at least 1 each")
        for option, value, known in (
            ("accelerator", self.accelerator, ACCELERATORS),
            ("precision", self.precision, PRECISIONS),
        ):
            if value not in known:
                raise InputError(f"--{option} {value}: use {' or '.join(known)}")
        if self.device == "cuda" and torch.cuda.device_count() < self.devices:
            raise InputError(f"--devices {self.devices}: this machine has {torch.cuda.device_count()} CUDA devices")

    @property
    def count(self) -> int:
        """All processes."""
        return self.devices * self.nodes

    @property
    def device(self) -> str:
        """``cpu`` or ``cuda``."""
        if self.accelerator == "auto":
            return "cuda" if torch.cuda.is_available() else "cpu"
        return self.accelerator


def launch(processes: Processes, find_unused_parameters: bool = True) -> "Fabric":
    """Start the other processes of this machine, each with this process's command line, and connect all.

    Args:
        processes: how many, on what.
        find_unused_parameters: see ``Student``.

    Raises:
        InputError: the launcher (torchrun, SLURM) has started another number of processes.
        TrainingError: they can't connect.
    """
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.ddp import DDPStrategy

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    strategy = DDPStrategy(find_unused_parameters=find_unused_parameters, timeout=LONGEST_WAIT)
    fabric = Fabric(
        accelerator=processes.device,
        devices=processes.devices,
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
def connected(step: int, where: str) -> Iterator[None]:
    """Turns the failure to reach another process in a step into a ``TrainingError`` that says how to continue."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, distributed.DistError) or "gloo" in str(error) or "NCCL" in str(error):
            raise TrainingError(lost(f"step {step} lost another process ({_first_line(error)})", where)) from error
        raise


def lost(what: str, where: str) -> str:
    """What to tell about the end of a process."""
    return f"{what}; find out why in its output, then give the same command to continue from {where}"


@contextlib.contextmanager
def one_voice(fabric: "Fabric") -> Iterator[None]:
    """All processes have a ``TrainingError`` at once: the one that started the others tells it and ends them."""
    try:
        yield
    except TrainingError:
        if os.environ.get(MAIN_PROCESS, str(os.getpid())) != str(os.getpid()):
            time.sleep(LONGEST_TALK)
        _ENDING.set()
        for child in _children(fabric):
            child.kill()
        raise


def disconnect() -> None:
    """End the connection between processes, if there is one."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences what Fabric and PyTorch say about several processes that is no news here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*find_unused_parameters=True was specified.*")
        warnings.filterwarnings("ignore", message=".*barrier\\(\\): using the device under current context.*")
        yield


def _watch(fabric: "Fabric") -> None:
    """End this process as soon as one that belongs to it has died: collectives would wait for it in vain."""
    main = os.environ.setdefault(MAIN_PROCESS, str(os.getpid()))
    if main != str(os.getpid()):
        threading.Thread(target=_watch_main, args=(int(main),), daemon=True).start()
        return
    threading.Thread(target=_watch_children, args=(_children(fabric),), daemon=True).start()


def _children(fabric: "Fabric") -> list[subprocess.Popen[bytes]]:
    """Processes that this one has started; the list grows in the launch."""
    children: list[subprocess.Popen[bytes]] = getattr(fabric.strategy.launcher, "procs", [])
    return children


def _watch_children(children: list[subprocess.Popen[bytes]]) -> None:
    while not _ENDING.is_set():
        time.sleep(LOOK_EVERY)
        for rank, child in enumerate(children, 1):
            if child.poll() and not _ENDING.is_set():
                _end(f"process {rank} ({child.pid}) {_how(child.returncode)}", children)


def _watch_main(main: int) -> None:
    while os.getppid() == main:
        time.sleep(LOOK_EVERY)
    os._exit(1)


def _end(what: str, children: list[subprocess.Popen[bytes]]) -> None:
    for child in children:
        child.kill()
    print(f"srquant: {lost(what, 'the last checkpoint')}", file=sys.stderr, flush=True)
    os._exit(1)


def _how(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
