"""Learned quantizers of weights and activations (RLQ of QuantSR, NeurIPS 2023, section 3.2), on the base of LSQ."""

import torch
from torch import Tensor, nn

from srquant.methods.quantsr.redistribution import redistributed
from srquant.quantizers.base import ActivationQuantizer, WeightQuantizer
from srquant.quantizers.integer_weight import LARGEST_INTEGER
from srquant.quantizers.shifted import ShiftedQuantizer

NEGATIVE = -1e-5
"""Activations below this make a quantizer signed."""

SMALLEST_STEP = 1e-8

NARROWEST = 1e-3
"""Steps stay above this part of the first one."""


class LearnedStep(nn.Module):
    """A learned step (``alpha`` in the paper) and the codes that it is multiplied by.

    Args:
        bits: 2..8.
        k: bend of the redistribution, 0 for none.
    """

    def __init__(self, bits: int, k: float) -> None:
        super().__init__()
        self.bits, self.k = bits, k
        self.step = nn.Parameter(torch.ones(()))
        self.first: Tensor
        self.last: Tensor
        self.register_buffer("first", torch.tensor(-float(1 << (bits - 1))))
        self.register_buffer("last", torch.tensor(float((1 << (bits - 1)) - 1)))
        self.narrowest: Tensor
        self.register_buffer("narrowest", torch.tensor(SMALLEST_STEP))

    @torch.no_grad()
    def start(self, values: Tensor) -> None:
        """The step that LSQ starts with: ``2 mean|v| / sqrt(last)``."""
        self.set_step(2 * values.abs().mean() / self.last.sqrt())

    @torch.no_grad()
    def set_step(self, step: Tensor) -> None:
        """Go on from a step, 0-d."""
        self.step.copy_(step.clamp(min=SMALLEST_STEP))
        self.narrowest.copy_(NARROWEST * self.step)

    @torch.no_grad()
    def keep_apart(self) -> None:
        """Move the step back above the smallest one allowed."""
        self.step.clamp_(min=self.narrowest)

    def quantized(self, values: Tensor) -> Tensor:
        """Values to grid points, any shape; the step's gradient is scaled by ``1 / sqrt(numel * last)``."""
        scale = (self.last * values.numel()).rsqrt()
        return redistributed(values, self.step, self.first, self.last, self.k, scale)

    def bounds(self) -> tuple[Tensor, Tensor]:
        """First and last grid point, 0-d, no gradient."""
        step = self.step.detach()
        return step * self.first, step * self.last


class LearnedWeight(LearnedStep):
    """Quantizer of a weight tensor, always signed; at 8 bits without -128, which integer engines don't have."""

    def __init__(self, bits: int, k: float) -> None:
        super().__init__(bits, k)
        self.first.clamp_(min=-LARGEST_INTEGER)

    def forward(self, weight: Tensor) -> Tensor:
        """Shape of the weight."""
        return self.quantized(weight)

    def deployable(self) -> WeightQuantizer:
        """The same grid with fixed bounds."""
        return WeightQuantizer(*self.bounds(), self.bits, bool(-self.first == self.last))


class LearnedActivation(LearnedStep):
    """Quantizer of a layer's input: ``q(x + tau)``, from which ``tau`` is not subtracted again.

    Args:
        bits: 2..8.
        k: bend of the redistribution, 0 for none.
        channels: of the input; None for an operand of a matrix product, which is not shifted.
        channel_axis: -3 before a convolution, -1 before a linear layer.
    """

    def __init__(self, bits: int, k: float, channels: int | None, channel_axis: int = -1) -> None:
        super().__init__(bits, k)
        shape = (-1, 1, 1) if channel_axis == -3 else (-1,)
        self.shift = None if channels is None else nn.Parameter(torch.zeros(channels).reshape(shape))

    @torch.no_grad()
    def start(self, values: Tensor) -> None:
        """Whether there are negative values, and the first step; ``values`` are those of the first batch."""
        self.set_signed(float(values.min()) < NEGATIVE)
        super().start(values)

    def set_signed(self, signed: bool) -> None:
        """Codes ``-2**(bits-1) .. 2**(bits-1)-1``, or ``0 .. 2**bits-1``."""
        levels = 1 << self.bits
        self.first.fill_(-levels // 2 if signed else 0)
        self.last.fill_(levels // 2 - 1 if signed else levels - 1)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same."""
        return self.quantized(x if self.shift is None else x + self.shift)

    def deployable(self) -> ActivationQuantizer:
        """The same grid with fixed bounds."""
        lower, upper = self.bounds()
        if self.shift is None:
            return ActivationQuantizer(lower, upper, self.bits)
        return ShiftedQuantizer(lower, upper, self.bits, self.shift)
