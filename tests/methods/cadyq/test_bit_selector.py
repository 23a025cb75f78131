"""Quantizers that choose their bits: the first choice, gradients, per-sample choices."""

import pytest
import torch

from srquant.errors import PolicyError
from srquant.methods.cadyq.bit_selector import BitSelectorQuantizer, bit_loss
from srquant.quantizers.by_picture import CurrentPictures, Pictures


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(4))


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(3, 5, 16, 16, generator=torch.Generator().manual_seed(5))


@pytest.fixture
def quantizer(images) -> BitSelectorQuantizer:
    made = BitSelectorQuantizer((4, 6, 8), features=5)
    made.current = CurrentPictures(Pictures(images))
    made.bounds.data.copy_(torch.tensor([2.0, 2.5, 3.0]))
    return made


def prefer_bits_by_sample(quantizer: BitSelectorQuantizer, x: torch.Tensor) -> torch.Tensor:
    """Make the three samples take 4, 6 and 8 bits: the first channel's deviation decides. Returns the input."""
    with torch.no_grad():
        quantizer.selector.weight.zero_()
        quantizer.selector.weight[:, 2] = torch.tensor([0.0, 1.0, 2.0])
        quantizer.selector.bias.copy_(torch.tensor([0.0, -1.0, -3.5]))
    x = x.clone()
    x[:, 0] *= (torch.tensor([0.1, 1.5, 5.0]) / x[:, 0].std((1, 2))).view(3, 1, 1)
    return x


def test_first_choice_is_the_largest_whatever_comes(quantizer, x):
    for factor in (1e-3, 1.0, 300.0):
        assert quantizer.chosen_bits(factor * x).tolist() == [8.0, 8.0, 8.0]


def test_each_sample_takes_its_candidate(quantizer, x):
    x = prefer_bits_by_sample(quantizer, x)
    assert quantizer.chosen_bits(x).tolist() == [4.0, 6.0, 8.0]
    with torch.no_grad():
        points = quantizer(x)
    for sample, (bound, n) in enumerate([(2.0, 7), (2.5, 31), (3.0, 127)]):
        expected = (x[sample].clamp(-bound, bound) * n / bound).round() * bound / n
        assert torch.allclose(points[sample], expected, atol=1e-6)
        assert len(points[sample].unique()) <= 2 * n + 1


def test_codes_are_those_of_the_candidate(quantizer, x):
    x = prefer_bits_by_sample(quantizer, x)
    codes = quantizer.codes(x)
    assert codes.abs().amax((1, 2, 3)).tolist() == [7, 31, 127]
    assert torch.equal(codes, codes.round())


def test_with_gradients_the_values_are_the_same(quantizer, x):
    x = prefer_bits_by_sample(quantizer, x)
    with torch.no_grad():
        expected = quantizer(x)
    assert torch.equal(quantizer(x), expected)


def test_gradient_is_that_of_the_mixture(quantizer, x):
    """To the bounds: the sum of each candidate's gradient weighted by its probability."""
    quantizer.selector.weight.data.mul_(1e-3)
    shares = quantizer.scores(x).softmax(1).detach()
    quantizer(x).sum().backward()
    for k, bound in enumerate(quantizer.bounds.detach()):
        alone = bound.clone().requires_grad_()
        n = (1 << (quantizer.choices[k] - 1)) - 1
        position = x / bound * n
        inside = (x.abs() <= bound).float()
        per_value = (1 - inside) * x.sign() + inside * (position.round() - position) / n
        expected = (per_value * shares[:, k].view(-1, 1, 1, 1)).sum()
        assert quantizer.bounds.grad[k].item() == pytest.approx(expected.item(), rel=1e-3, abs=1e-3)
        assert alone.grad is None
    assert quantizer.selector.weight.grad.abs().sum() > 0


def test_bits_have_the_gradient_of_the_softmax_only(quantizer, x):
    quantizer.selector.weight.data.mul_(1e-3)
    x.requires_grad_()
    quantizer(x)
    cost = bit_loss([quantizer.take()])
    cost.backward()
    shares = quantizer.scores(x).softmax(1).detach()
    bits = torch.tensor([4.0, 6.0, 8.0])
    expected = shares @ bits
    per_score = shares * (bits - expected[:, None]) / expected[:, None] / len(x)
    assert torch.allclose(quantizer.selector.bias.grad, per_score.sum(0), atol=1e-6)
    assert quantizer.bounds.grad is None
    assert x.grad is None


def test_cost_counts_every_layer_as_about_one(quantizer, x):
    quantizer(x)
    first = quantizer.take()
    assert bit_loss([first, first]).item() == pytest.approx(2 * 8 / first.expected.mean().item(), rel=1e-2)


@pytest.mark.parametrize(
    ("candidates", "features", "error"),
    [((4,), 5, ValueError), ((6, 4), 5, ValueError), ((4, 9), 5, PolicyError), ((4, 8), 0, ValueError)],
)
def test_impossible_settings_are_refused(candidates, features, error):
    with pytest.raises(error, match=r"candidate|features"):
        BitSelectorQuantizer(candidates, features)


def test_smallest_settings_and_their_defaults():
    assert BitSelectorQuantizer((4, 8), 1).settings() == {
        "candidates": [4, 8],
        "features": 1,
        "channel_axis": 1,
        "gradient_scale": 1000.0,
    }


@torch.no_grad()
def test_nothing_is_kept_without_gradients(quantizer, x):
    quantizer(x)
    assert quantizer.choice is None
