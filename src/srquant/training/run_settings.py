"""How long a run trains, and what is measured between two rows of its log."""

from dataclasses import dataclass, field

from torch import Tensor

from srquant.errors import InputError


@dataclass(frozen=True)
class Run:
    """How long and how often.

    Attributes:
        steps: of the optimizer.
        batch: crops per step and process.
        seed: decides random numbers of the student; crops have their own.
        ema: decay of the moving average of the parameters, which is validated and becomes the result; 0 for none.
        log_every: steps per row of the log.
        checkpoint_every: steps between two checkpoints.
        validate_every: steps between two validations.
        tensorboard: whether to write events as well.

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
        """Whether something that comes every so many steps comes after ``done`` steps; all come at the end."""
        return done % every == 0 or done == self.steps


@dataclass
class Interval:
    """What is measured between two rows of the log; losses wait on their device."""

    losses: list[Tensor] = field(default_factory=list)
    waited: float = 0.0
    elapsed: float = 0.0

    def seconds(self) -> dict[str, float]:
        """Mean wait for a batch, and mean time of the rest of a step."""
        steps = len(self.losses)
        return {"data_seconds": self.waited / steps, "step_seconds": (self.elapsed - self.waited) / steps}
