"""Grids of several bits: their bounds, codes, and the record of their choices."""

import pytest
import torch

from srquant.methods.cadyq.candidates import CandidateQuantizer, recorded_choices


class BySign(CandidateQuantizer):
    """Samples whose first value is negative take the second candidate."""

    def choose(self, x: torch.Tensor) -> torch.Tensor:
        return (x.flatten(1)[:, 0] < 0).long()


def test_bounds_stay_positive():
    quantizer = BySign((4, 8))
    quantizer.bounds.data.copy_(torch.tensor([-1.0, 0.5]))
    quantizer.keep_positive()
    assert quantizer.bounds.tolist() == pytest.approx([1e-6, 0.5])


def test_codes_times_steps_are_the_points():
    quantizer = BySign((3, 5))
    quantizer.bounds.data.copy_(torch.tensor([0.7, 1.3]))
    x = torch.randn(4, 2, 10, 10)
    x[:, 0, 0, 0] = torch.tensor([1.0, -1.0, 1.0, -1.0])
    steps = torch.tensor([0.7 / 3, 1.3 / 15] * 2).view(4, 1, 1, 1)
    codes = quantizer.codes(x)
    assert torch.equal(codes, codes.round())
    torch.testing.assert_close(codes * steps, quantizer(x).detach())


def test_choices_are_recorded_inside_the_context_only():
    quantizer = BySign((4, 8))
    with recorded_choices([quantizer]) as choices:
        assert choices[0].numel() == 0
        quantizer(torch.tensor([[1.0], [-1.0]]))
    assert choices[0].tolist() == [0, 1]
    quantizer(torch.tensor([[1.0], [1.0]]))
    assert choices[0].tolist() == [0, 1]
