"""Redistribution-driven learnable quantizers (RLQ of QuantSR, NeurIPS 2023, section 3.2), on the base of LSQ.

Forward they are plain uniform quantizers with a learned step; activations are shifted by a learned ``tau`` per channel
first. Backward, rounding has the slope of a function ``phi`` that pushes values apart inside each step, so gradients
grow near decision boundaries and shrink near grid points. ``phi`` leaves whole and half numbers where they are, so
``round(phi(y))`` is ``round(y)``.

    >>> y = torch.tensor([0.5, 1.0], requires_grad=True)
    >>> redistributed_round(y, k=1.0).sum().backward()
    >>> y.grad
    tensor([1.0820, 0.8509])
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srquant.models.layers import Matmul
from srquant.quant.layers import QuantConv2d, QuantLayer, QuantLinear, QuantMatmul, conv_padding
from srquant.quant.policy import LayerBits
from srquant.quant.quantizers import LARGEST_INTEGER, ActivationQuantizer, WeightQuantizer
from srquant.quant.shifted import ShiftedQuantizer

NEGATIVE = -1e-5
"""Activations below this make a quantizer signed."""

SMALLEST_STEP = 1e-8

NARROWEST = 1e-3
"""Steps stay above this part of the first one."""


def redistribution(y: Tensor, k: float) -> Tensor:
    """``phi(y) = floor(y) + 1/2 + tanh(k (f - 1/2)) / (2 tanh(k/2))`` with ``f = y - floor(y)``, any shape; k > 0."""
    floor = y.floor()
    return floor + 0.5 + (k * (y - floor - 0.5)).tanh() / (2 * math.tanh(k / 2))


def redistribution_slope(y: Tensor, k: float) -> Tensor:
    """``phi'(y) = k sech^2(k (f - 1/2)) / (2 tanh(k/2))``, any shape; 1 everywhere for k = 0."""
    if k == 0:
        return torch.ones_like(y)
    bend = torch.frac(y).abs_().sub_(0.5).mul_(k).tanh_()
    return bend.square_().neg_().add_(1).mul_(k / (2 * math.tanh(k / 2)))


def redistributed_round(y: Tensor, k: float) -> Tensor:
    """Round half to even with the gradient ``phi'(y)``; the straight-through one for k = 0."""
    one, far = torch.ones((), dtype=y.dtype, device=y.device), torch.tensor(math.inf, dtype=y.dtype, device=y.device)
    return redistributed(y, one, -far, far, k, one)


def redistributed(values: Tensor, step: Tensor, first: Tensor, last: Tensor, k: float, scale: Tensor) -> Tensor:
    """``step * round(clamp(values / step, first, last))``, differentiable in ``values`` and ``step``.

    Inside, the gradient in the values is ``phi'(v)`` with ``v = values / step``, and that in the step is
    ``round(v) - v phi'(v)``; outside they are 0 and ``first`` or ``last`` (LSQ Eq. 3 for ``phi' = 1``).

    Args:
        values: any shape.
        step: 0-d, positive.
        first: first code, 0-d.
        last: last code, 0-d.
        k: bend of the redistribution, 0 for none.
        scale: of the gradient in the step (LSQ section 2.2), 0-d.
    """
    points: Tensor = _Redistributed.apply(values, step, first, last, k, scale)  # type: ignore[no-untyped-call]
    return points


class _Redistributed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, step: Tensor, first: Tensor, last: Tensor, k: float, scale: Tensor) -> Tensor:
        position = values / step
        ctx.save_for_backward(position, first, last, scale)
        ctx.k = k
        return position.clamp(first, last).round_().mul_(step)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        position, first, last, scale = ctx.saved_tensors
        codes = position.clamp(first, last)
        inside = grad * (codes == position)
        if ctx.k:
            inside.mul_(redistribution_slope(position, ctx.k))
        if not ctx.needs_input_grad[1]:
            return inside, None, None, None, None, None
        learned = codes.round_().mul_(grad).sum() - (position * inside).sum()
        return inside, learned * scale, None, None, None, None


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


class LearnedLayer(nn.Module):
    """A convolution or linear layer in training; zero padding follows the shift and the quantizer.

    Args:
        layer: its weight and bias are trained as well.
        bits: of weight and input.
        k: bend of the redistribution, 0 for none.
    """

    def __init__(self, layer: nn.Conv2d | nn.Linear, bits: LayerBits, k: float) -> None:
        super().__init__()
        self.layer = layer
        self.weight_quantizer = LearnedWeight(bits.weight, k)
        self.weight_quantizer.start(layer.weight)
        linear = isinstance(layer, nn.Linear)
        channels = layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
        self.input_quantizer = LearnedActivation(bits.activation, k, channels, -1 if linear else -3)

    def forward(self, x: Tensor) -> Tensor:
        """As the float layer."""
        layer, points = self.layer, self.input_quantizer(x)
        weight = self.weight_quantizer(layer.weight)
        if isinstance(layer, nn.Linear):
            return F.linear(points, weight, layer.bias)
        padding = conv_padding(layer)
        return F.conv2d(points, weight, layer.bias, layer.stride, padding, layer.dilation, layer.groups)

    def deployable(self) -> QuantLayer:
        """The same layer with fixed bounds; shares weight and bias."""
        quantizers = self.input_quantizer.deployable(), self.weight_quantizer.deployable()
        if isinstance(self.layer, nn.Linear):
            return QuantLinear(self.layer, *quantizers)
        return QuantConv2d(self.layer, *quantizers)


class LearnedMatmul(nn.Module):
    """A matrix product of two activations in training."""

    def __init__(self, matmul: Matmul, bits: int, k: float) -> None:
        super().__init__()
        self.matmul = matmul
        self.left, self.right = (LearnedActivation(bits, k, None) for _ in range(2))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """``... x N x K`` and ``... x K x M`` to ``... x N x M``."""
        product: Tensor = self.matmul(self.left(a), self.right(b))
        return product

    def deployable(self) -> QuantMatmul:
        """The same product with fixed bounds."""
        return QuantMatmul(self.matmul, self.left.deployable(), self.right.deployable())


@torch.no_grad()
def start_activations(network: nn.Module, images: Tensor) -> None:
    """Let every activation quantizer see a first batch, ``N x 3 x H x W``; later ones see quantized values."""

    def see(quantizer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(quantizer, LearnedActivation)
        quantizer.start(inputs[0])

    quantizers = [module for module in network.modules() if isinstance(module, LearnedActivation)]
    handles = [quantizer.register_forward_pre_hook(see) for quantizer in quantizers]
    try:
        network(images)
    finally:
        for handle in handles:
            handle.remove()
