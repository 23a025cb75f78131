"""Settings of a training run, and the measurements between two rows of its log."""

from dataclasses import dataclass, field

from torch import Tensor

from srquant.errors import InputError


@dataclass(frozen=True)
class Run:
    """Number of steps, and how often the run logs, validates and saves.

    Attributes:
        steps: number of optimizer steps.
        batch: crops per step and process.
        seed: of the student's random numbers; the crops have a separate seed.
        ema: decay of the moving average of the parameters; the averages are validated and become the result. 0: none.
        log_every: steps per row of the log.
        checkpoint_every: steps between two checkpoints.
        validate_every: steps between two validations.
        tensorboard: whether to write TensorBoard events as well.

    Raises:
        InputError: a value out of range.
    """

    steps: int
    batch: int = 16
    seed: int = 0
    ema: float = 0.0
    log_every: int = 100
    checkpoint_every: int = 1000
    validate_every: int = 1000
    tensorboard: bool = False

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "log_every", "checkpoint_every", "validate_every"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name.replace('_', '-')} {getattr(self, name)}: use at least 1")
        if not 0 <= self.ema < 1:
            raise InputError(f"--ema {self.ema}: use 0 for no average, or a decay below 1 such as 0.999")

    def due(self, done: int, every: int) -> bool:
        """Whether something that is done every ``every`` steps is due after step ``done``; always at the end."""
        return done % every == 0 or done == self.steps


@dataclass
class Interval:
    """Measurements between two rows of the log; the losses stay on their device, so that steps don't wait for them."""

    losses: list[Tensor] = field(default_factory=list)
    waited: float = 0.0
    elapsed: float = 0.0

    def seconds(self) -> dict[str, float]:
        """Mean seconds per step: waiting for the batch, and everything else."""
        steps = len(self.losses)
        return {"data_seconds": self.waited / steps, "step_seconds": (self.elapsed - self.waited) / steps}
