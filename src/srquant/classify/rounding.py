"""The rounding variable (AdaRound, Nagel et al., ICML 2020, Eq. 21-24): for each weight, up or down is learned.

``W~ = s * (clip(floor(W/s) + h(V) + z, 0, 2**b - 1) - z)`` with ``h(V) = clip(1.2 * sigmoid(V) - 0.1, 0, 1)``.
"""

from torch import Tensor, nn

ZETA, GAMMA = 1.1, -0.1
"""The sigmoid is stretched to this interval before it is cut to [0, 1]."""


class AdaptiveRounding(nn.Module):
    """A weight whose rounding is learned.

    While ``soft`` is True (during learning) a weight may lie between two grid points. While it is False, weights with
    ``logits >= 0`` are rounded up, the others down; before learning that is rounding to nearest.

    Args:
        weight: float, ``C_out x ...``.
        scale: distance of neighbouring grid points per output channel, ``C_out``.
        zero_point: integers in 0..levels-1 per output channel, as floats, ``C_out``.
        levels: number of grid points.
    """

    floor: Tensor
    scale: Tensor
    zero_point: Tensor

    def __init__(self, weight: Tensor, scale: Tensor, zero_point: Tensor, levels: int) -> None:
        super().__init__()
        per_row = (-1, *[1] * (weight.dim() - 1))
        self.register_buffer("scale", scale.view(per_row))
        self.register_buffer("zero_point", zero_point.view(per_row))
        self.register_buffer("floor", (weight / self.scale).floor())
        self.logits = nn.Parameter(logits_of(weight / self.scale - self.floor))
        self.levels = levels
        self.soft = False

    def share(self) -> Tensor:
        """``h(V)``: 0 for weights that are rounded down, 1 for up, between them while soft; shape of the weight."""
        return rectified_sigmoid(self.logits) if self.soft else (self.logits >= 0).to(self.logits)

    def forward(self) -> Tensor:
        """The weight on its grid, or between two of its points while soft."""
        codes = (self.floor + self.share() + self.zero_point).clamp(0, self.levels - 1)
        return self.scale * (codes - self.zero_point)


def rectified_sigmoid(logits: Tensor) -> Tensor:
    """``h(V)`` in [0, 1]."""
    return ((ZETA - GAMMA) * logits.sigmoid() + GAMMA).clamp(0, 1)


def logits_of(share: Tensor) -> Tensor:
    """The ``V`` with ``h(V) = share``, for shares in [0, 1]."""
    return -((ZETA - GAMMA) / (share - GAMMA) - 1).log()


def penalty(share: Tensor, beta: float) -> Tensor:
    """Sum of ``1 - |2h - 1|**beta`` over all weights: 0 for weights rounded up or down, 1 for weights half way."""
    return (1 - (2 * share - 1).abs().pow(beta)).sum()


def beta_at(step: int, steps: int, warmup: float, first: float, last: float) -> float:
    """Exponent of the penalty: ``first`` until ``warmup * steps``, then linear to ``last`` at ``steps``."""
    start = warmup * steps
    return first if step <= start else last + (first - last) * (steps - step) / (steps - start)
