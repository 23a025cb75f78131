"""The training loop, with log, validation and checkpoints."""

import contextlib
import math
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from srquant.data.pairs import PairSet
from srquant.devices import full_float32
from srquant.distillation.loop import adam, scale_rates
from srquant.errors import TrainingError
from srquant.insertion.quantized_model import QuantizedModel
from srquant.models.network import Network
from srquant.training.averages import Averages
from srquant.training.checkpoint import State, fitting, load_state, save_state, with_present_names
from srquant.training.log import Log, opened
from srquant.training.prefetch import Batch, batches
from srquant.training.processes import connection_errors
from srquant.training.run_folder import RunFolder
from srquant.training.run_settings import Interval, Run
from srquant.training.student import Student

if TYPE_CHECKING:
    from lightning_fabric import Fabric

NUMBERS = ("loss", "learning_rate", "data_seconds", "step_seconds", "psnr")
"""Columns of the log, before those of the student."""

Validate = Callable[[Network], float]
"""Mean PSNR of a network in evaluation mode, in dB."""


class Trainer:
    """Trains a student; continues from the run's last checkpoint if there is one.

    Args:
        fabric: after its launch.
        student: changed in place.
        pairs: training crops.
        run: number of steps, and how often to log, validate and save.
        folder: an existing folder, for checkpoint and log.
        validate: measures the network, or None.
        progress: called after each step with the number of steps done and of all steps.
    """

    def __init__(
        self,
        fabric: "Fabric",
        student: Student,
        pairs: PairSet,
        run: Run,
        folder: RunFolder,
        validate: Validate | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self.fabric, self.student, self.pairs, self.run, self.folder = fabric, student, pairs, run, folder
        self.validate, self.progress = validate, progress
        self.module, self.optimizer = fabric.setup(student, adam(student.rates()))
        self.rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        self.averages = Averages(student, run.ema)

    @full_float32()
    def train(self) -> QuantizedModel | Network:
        """Do the remaining steps.

        Returns:
            The trained network, on the CPU.

        Raises:
            TrainingError: the loss or a parameter isn't finite, or another process was lost.
            CheckpointError: the run's checkpoint is damaged.
        """
        done = self._resume()
        with self._log(done) as log, contextlib.closing(self._batches(done)) as feed:
            interval, before = Interval(), time.perf_counter()
            for step in range(done, self.run.steps):
                with connection_errors(step + 1, str(self.folder.checkpoint)):
                    self._step(step, feed, interval)
                    if self._pauses(step + 1):
                        self._pause(step + 1, interval, before, log)
                        interval, before = Interval(), time.perf_counter()
                self.progress(step + 1, self.run.steps)
        return self._result()

    def _step(self, step: int, feed: Iterator[Batch], interval: Interval) -> None:
        before = time.perf_counter()
        low, high = next(feed)
        interval.waited += time.perf_counter() - before
        torch.manual_seed(_step_seed(self.run.seed, step, self.fabric.global_rank))
        scale_rates(self.optimizer, self.rates, self.student.rate_factor(step))
        loss = self.module(self._pictures(low), self._pictures(high), step)
        self.fabric.backward(loss)
        self.student.after_backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.student.after_step(step)
        self.averages.update()
        interval.losses.append(loss.detach())

    def _pictures(self, pixels: Tensor) -> Tensor:
        return pixels.to(self.fabric.device).to(torch.float32, memory_format=torch.channels_last) / 255

    def _pauses(self, done: int) -> bool:
        run = self.run
        return any(run.due(done, every) for every in (run.log_every, run.checkpoint_every, run.validate_every))

    def _pause(self, done: int, interval: Interval, before: float, log: Log | None) -> None:
        """Write a row of the log; validate and save if that is due after ``done`` steps."""
        losses = self._losses(interval, done)
        interval.elapsed = time.perf_counter() - before
        if self.run.due(done, self.run.checkpoint_every):
            self._check_parameters(done)
        psnr = self._psnr() if log is not None and self.run.due(done, self.run.validate_every) else None
        if log is not None:
            rate = self.optimizer.param_groups[0]["lr"]
            numbers = {"loss": math.fsum(losses) / len(losses), "learning_rate": rate, **interval.seconds()}
            log.write(done, {**numbers, "psnr": psnr, **self.student.logged()})
        if self.run.due(done, self.run.checkpoint_every):
            self._save(done)

    def _losses(self, interval: Interval, done: int) -> list[float]:
        """Loss of each step of the interval, averaged over all processes."""
        values = self.fabric.all_reduce(torch.stack(interval.losses), reduce_op="mean")
        assert isinstance(values, Tensor)
        losses: list[float] = values.tolist()
        for step, loss in enumerate(losses, done - len(losses) + 1):
            if not math.isfinite(loss):
                raise self._diverged(f"the loss of step {step} is {loss}")
        return losses

    def _check_parameters(self, done: int) -> None:
        for name, value in self.student.state_dict().items():
            if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                raise self._diverged(f"after step {done} {name} is not finite")

    def _diverged(self, what: str) -> TrainingError:
        last = load_state(self.folder.checkpoint).steps if self.folder.checkpoint.exists() else 0
        checkpoint = f"the last checkpoint, {self.folder.checkpoint}, is of step {last}"
        kept = checkpoint if last else "there is no checkpoint yet"
        return TrainingError(
            f"training diverged: {what}; {kept}; start again (--overwrite) with a lower learning rate (--set) or more "
            "bits"
        )

    def _psnr(self) -> float | None:
        if self.validate is None:
            return None
        with self.averages.applied(), evaluating(self.student):
            return self.validate(self.student.network)

    def _save(self, done: int) -> None:
        if self.fabric.is_global_zero:
            state = State(done, self.student.state_dict(), self.optimizer.state_dict(), self.averages.values)
            save_state(state, self.folder.checkpoint)
        self.fabric.barrier()

    def _resume(self) -> int:
        """Load the last checkpoint, which the first process sends to all; returns the number of steps done."""
        found = self.fabric.is_global_zero and self.folder.checkpoint.exists()
        state = self.fabric.broadcast(load_state(self.folder.checkpoint) if found else None)
        if state is None:
            return 0
        earlier = self.student.earlier_names
        with fitting(self.folder.checkpoint):
            self.student.load_state_dict(with_present_names(state.student, earlier))
            self.optimizer.load_state_dict(state.optimizer)
            self.averages.load(with_present_names(state.averages, earlier))
        return state.steps

    def _batches(self, done: int) -> Generator[Batch]:
        steps = range(done, self.run.steps)
        return batches(self.pairs, steps, self.run.batch, self.fabric.global_rank, self.fabric.world_size)

    @contextlib.contextmanager
    def _log(self, done: int) -> Iterator[Log | None]:
        """The log in the first process, None in the others."""
        if not self.fabric.is_global_zero:
            yield None
            return
        events = self.folder.tensorboard if self.run.tensorboard else None
        with opened(self.folder.metrics, [*NUMBERS, *self.student.logged()], done, events) as log:
            yield log

    def _result(self) -> QuantizedModel | Network:
        self.averages.apply()
        self.student.cpu().eval()
        with torch.no_grad():
            result = self.student.result()
        if isinstance(result, Network):
            return result.requires_grad_(False)
        return replace(result, origin=replace(result.origin, calibration=self.pairs.fingerprint))


@contextlib.contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode inside the block; afterwards restore the mode of each submodule."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, training in modes.items():
            part.training = training


def _step_seed(seed: int, step: int, rank: int) -> int:
    """A different seed for each step and process."""
    return int(np.random.SeedSequence((seed, step, rank)).generate_state(1, np.uint64)[0])
