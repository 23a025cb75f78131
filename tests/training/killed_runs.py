"""Run a command once in peace; then again, killed at random moments of random steps until it may end at last.

    python killed_runs.py SEED KILLS FOLDER ARGUMENTS...

Writes FOLDER/whole and FOLDER/killed, and prints the steps that were done when the command was killed; the log must
have a row per step. Processes are forks of this one, so that PyTorch is loaded once.
"""

import importlib
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from srquant.cli import main

for module in ("lightning_fabric.strategies.ddp", "srquant.cli.train_run"):
    importlib.import_module(module)


def start(arguments: list[str]) -> int:
    process = os.fork()
    if process == 0:
        sys.argv = ["srquant", *arguments]
        os.dup2(2, 1)
        main()
    return process


def finish(process: int) -> None:
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if code:
        sys.exit(f"exit code {code}")


def steps_done(metrics: Path) -> int:
    return max(0, metrics.read_text().count("\n") - 1) if metrics.exists() else 0


def kill_after(process: int, metrics: Path, step: int, seconds: float) -> None:
    while steps_done(metrics) < step:
        if os.waitpid(process, os.WNOHANG) != (0, 0):
            sys.exit(f"ended before step {step}")
        time.sleep(0.001)
    time.sleep(seconds)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)


def run(seed: int, kills: int, folder: Path, arguments: list[str]) -> None:
    finish(start([*arguments, "-o", str(folder / "whole")]))
    arguments, metrics = [*arguments, "-o", str(folder / "killed")], folder / "killed" / "metrics.csv"
    chance = random.Random(seed)
    steps = int(arguments[arguments.index("--steps") + 1])
    for step in sorted(chance.sample(range(1, steps - 5), kills)):
        kill_after(start(arguments), metrics, step, chance.uniform(0, 0.02))
        print(steps_done(metrics), flush=True)
    finish(start(arguments))


if __name__ == "__main__":
    assert torch.get_num_threads() == 1, "forks of several threads hang"
    run(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
