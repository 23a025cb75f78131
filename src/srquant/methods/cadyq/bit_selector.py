"""The bit selector of CADyQ (Hong et al., ECCV 2022, section 3.2): a linear layer chooses the bits of each picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from srquant.grids.straight_through import straight_through
from srquant.methods.cadyq.candidates import CandidateQuantizer
from srquant.quantizers.stored import Json


@dataclass(frozen=True)
class Choice:
    """What a bit selector chose in a training step.

    Attributes:
        bits: of each sample's candidate, ``N``; their gradient is that of the expected bits.
        expected: mean of the candidates' bits weighted by their probabilities, ``N``, no gradient.
    """

    bits: Tensor
    expected: Tensor


class BitSelectorQuantizer(CandidateQuantizer):
    """Quantizes each sample with the candidate to which a linear layer gives the highest score (CADyQ section 3.2).

    The layer's inputs are the mean derivatives of the gray picture in x and y, times ``gradient_scale``, and the
    standard deviation of each channel of the quantizer's input. In training the gradient is that of the mixture of all
    candidates, weighted by the softmax of the scores, and ``take`` returns the choice. At first all weights are one
    and only the bias of the largest candidate is one, others are zero; so the largest candidate is always chosen.

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
        """Channels that its input must have."""
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
        """Score of each candidate for each sample, ``N x K``."""
        axes = [axis for axis in range(1, x.dim()) if axis != self.channel_axis % x.dim()]
        gradients = self.pictures.gradients.to(x) * self.gradient_scale
        gradients = gradients.repeat_interleave(len(x) // len(gradients), 0)
        scores: Tensor = self.selector(torch.cat([gradients, x.detach().std(axes)], 1))
        return scores

    def choose(self, x: Tensor) -> Tensor:
        """Which candidate each sample takes, ``N`` int64."""
        return self.scores(x).argmax(1)

    def forward(self, x: Tensor) -> Tensor:
        """Values to grid points, any shape."""
        scores = self.scores(x)
        indices = scores.argmax(1)
        if not torch.is_grad_enabled():
            return self.chosen_points(x, indices)
        p = scores.softmax(1)
        self.choice = self.choice_of(indices, p)
        shaped = p.T.view(len(self.choices), -1, *[1] * (x.dim() - 1))
        soft = sum((p_k * self.points(x, k) for k, p_k in enumerate(shaped)), torch.zeros(()))
        return straight_through(self.chosen_points(x, indices), soft)

    def choice_of(self, indices: Tensor, p: Tensor) -> Choice:
        """The choice, from each sample's candidate (``indices``, ``N``) and probabilities ``p`` (``N x K``)."""
        bits = torch.tensor(self.choices, dtype=p.dtype, device=p.device)
        expected = p @ bits
        return Choice(straight_through(bits[indices], expected), expected.detach())

    def take(self) -> Choice:
        """Return the choice of the last training pass, and delete it here."""
        assert self.choice is not None
        choice, self.choice = self.choice, None
        return choice


def bit_loss(choices: Sequence[Choice]) -> Tensor:
    """Sum over layers of ``bits / expected``, mean over samples, 0-d.

    As ``expected`` is a constant, the gradient is that of the logarithm of the expected bits.
    """
    return torch.stack([(choice.bits / choice.expected).mean() for choice in choices]).sum()
