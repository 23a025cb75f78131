"""Bits that a small linear layer chooses for each picture (CADyQ, Hong et al., ECCV 2022, section 3.2)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from srquant.grids.straight_through import straight_through
from srquant.methods.cadyq.candidates import CandidateQuantizer
from srquant.quantizers.stored import Json


@dataclass(frozen=True)
class Choice:
    """What a selector chose in a training step.

    Attributes:
        bits: of each sample, ``N``, whole numbers with the gradient of the expected bits.
        expected: bits weighted by the probabilities, ``N``, no gradient.
    """

    bits: Tensor
    expected: Tensor


class SelectingQuantizer(CandidateQuantizer):
    """The candidate with the highest score of a linear layer (CADyQ section 3.2).

    It sees the mean derivatives of the gray picture in x and y, times ``gradient_scale``, and the deviation of each
    channel of its input. While gradients are computed, they are those of the candidates weighted by the softmax of the
    scores, and ``take`` returns what was chosen. At first all weights are one and the largest candidate has a bias of
    one, so that it is chosen whatever comes.

    Args:
        candidates: bits, 2..8, ascending.
        features: channels of the input.
        channel_axis: 1 before a convolution, -1 before a linear layer.
        gradient_scale: for pictures in [0, 1].
    """

    kind = "cadyq"

    def __init__(
        self, candidates: Sequence[int], features: int, channel_axis: int = 1, gradient_scale: float = 1000.0
    ) -> None:
        super().__init__(candidates)
        if features < 1 or channel_axis not in (1, -1):
            raise ValueError(f"features {features}, channel_axis {channel_axis}")
        self.features = features
        self.channel_axis = channel_axis
        self.gradient_scale = gradient_scale
        self.selector = nn.Linear(features + 2, len(candidates))
        nn.init.ones_(self.selector.weight)
        nn.init.zeros_(self.selector.bias)
        nn.init.ones_(self.selector.bias[-1:])
        self.choice: Choice | None = None

    @property
    def channels(self) -> int:
        """Of the input."""
        return self.features

    def settings(self) -> dict[str, Json]:
        """Keyword arguments of the constructor."""
        return {
            "candidates": list(self.choices),
            "features": self.features,
            "channel_axis": self.channel_axis,
            "gradient_scale": self.gradient_scale,
        }

    def scores(self, x: Tensor) -> Tensor:
        """Of each candidate for each sample, ``N x K``."""
        axes = [axis for axis in range(1, x.dim()) if axis != self.channel_axis % x.dim()]
        gradients = self.pictures.gradients.to(x) * self.gradient_scale
        gradients = gradients.repeat_interleave(len(x) // len(gradients), 0)
        scores: Tensor = self.selector(torch.cat([gradients, x.detach().std(axes)], 1))
        return scores

    def flags(self, x: Tensor) -> Tensor:
        """Which candidate each sample takes, ``N`` int64."""
        return self.scores(x).argmax(1)

    def forward(self, x: Tensor) -> Tensor:
        """Values to grid points, any shape."""
        scores = self.scores(x)
        flags = scores.argmax(1)
        if not torch.is_grad_enabled():
            return self.chosen(x, flags)
        shares = scores.softmax(1)
        self.choice = self.choice_of(flags, shares)
        shaped = shares.T.view(len(self.choices), -1, *[1] * (x.dim() - 1))
        soft = sum((share * self.points(x, k) for k, share in enumerate(shaped)), torch.zeros(()))
        return straight_through(self.chosen(x, flags), soft)

    def choice_of(self, flags: Tensor, shares: Tensor) -> Choice:
        """Bits of samples that take candidates ``flags`` (``N``) with probabilities ``shares`` (``N x K``)."""
        bits = torch.tensor(self.choices, dtype=shares.dtype, device=shares.device)
        expected = shares @ bits
        return Choice(straight_through(bits[flags], expected), expected.detach())

    def take(self) -> Choice:
        """What was chosen in the last pass, and forget it."""
        assert self.choice is not None
        choice, self.choice = self.choice, None
        return choice


def bit_cost(choices: Sequence[Choice]) -> Tensor:
    """Sum over layers of bits over expected bits, mean over samples, 0-d: a gradient of the logarithm of the bits."""
    return torch.stack([(choice.bits / choice.expected).mean() for choice in choices]).sum()
