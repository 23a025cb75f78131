"""Weights that make up for quantized inputs."""

import copy

import pytest
import torch
from torch import nn

from srquant.quantizers.base import ActivationQuantizer, WeightQuantizer
from srquant.quantizers.layers import QuantConv2d, QuantLinear
from srquant.weight_rounding import gptaq
from srquant.weight_rounding.gptaq import adjust_layer, apply_gptaq, middle, statistics

LAYERS = {
    "convolution": nn.Conv2d(6, 8, 3, padding=1),
    "strides, no bias": nn.Conv2d(6, 8, 3, stride=2, padding=1, bias=False),
    "groups": nn.Conv2d(6, 8, 3, padding=1, groups=2),
    "linear": nn.Linear(6, 8),
}


def quantized(layer, weight_bits=8, input_bits=3):
    bound = 2 * layer.weight.detach().abs().max()
    upper = torch.tensor(2.5)
    kind = QuantLinear if isinstance(layer, nn.Linear) else QuantConv2d
    inputs = ActivationQuantizer(-upper, upper, input_bits)
    return kind(copy.deepcopy(layer), inputs, WeightQuantizer(-bound, bound, weight_bits, True))


def inputs_of(layer):
    """Channels that resemble each other, and what is left of them behind other layers."""
    random = torch.Generator().manual_seed(0)
    x = torch.randn(4, 1, 20, 20, generator=random) + 0.3 * torch.randn(4, 6, 20, 20, generator=random)
    noisy = x + 0.4 * torch.randn(4, 6, 20, 20, generator=random) + 0.3
    return tuple(t.movedim(1, -1) if isinstance(layer, nn.Linear) else t for t in (x, noisy))


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS.keys())
@torch.no_grad()
def test_outputs_come_closer_to_those_of_float_inputs(layer):
    x, noisy = inputs_of(layer)
    wanted, adjusted = layer(x), quantized(layer)
    before = (adjusted(noisy) - wanted).square().mean()
    adjust_layer(adjusted, x, noisy)
    error = adjusted(noisy) - wanted
    assert error.square().mean() < 0.85 * before
    grid = adjusted.weight_quantizer(adjusted.weight)
    torch.testing.assert_close(grid, adjusted.weight, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_without_any_loss_it_is_the_float_layer():
    layer = LAYERS["linear"]
    student = quantized(layer, weight_bits=8, input_bits=8)
    x = student.input_quantizer(inputs_of(layer)[0])
    adjust_layer(student, x, x)
    torch.testing.assert_close(student(x), layer(x), atol=0.05, rtol=0)
    torch.testing.assert_close(student.layer.bias, layer.bias, atol=0.05, rtol=0)


@torch.no_grad()
def test_least_squares_by_hand():
    """One input that arrives at half its size: twice the weight would do, damping leaves 0.5 + 0.5 / 1.1 = 0.955."""
    layer = nn.Linear(1, 1)
    layer.weight.fill_(0.5)
    layer.bias.fill_(3.0)
    sixteenths = ActivationQuantizer(torch.tensor(-8.0), torch.tensor(7.9375), 8)
    hundredths = WeightQuantizer(torch.tensor(-1.27), torch.tensor(1.27), 8, True)
    student = QuantLinear(layer, sixteenths, hundredths)
    x = torch.linspace(-4, 6, 11)[None, :, None]
    adjust_layer(student, x, x / 2)
    assert float(student.weight) == pytest.approx(0.95)
    mean, noisy_mean = 1.0, 0.5
    assert float(student.layer.bias) == pytest.approx(3 + 0.5 * mean - 0.95 * noisy_mean)


def test_the_middle_of_pictures():
    images = torch.rand(2, 3, 48, 40)
    assert torch.equal(middle(images), images[..., 8:40, 4:36])
    small = torch.rand(2, 3, 20, 32)
    assert torch.equal(middle(small), small)


@torch.no_grad()
def test_crops_weigh_the_less_the_more_they_lose():
    layer = LAYERS["linear"]
    student = quantized(layer, input_bits=8)
    x = torch.randn(2, 50, 6, generator=torch.Generator().manual_seed(0))
    worse = x * torch.tensor([0.9, 0.5])[:, None, None]
    mean = statistics(student, x, worse).mean[0]
    points = student.input_quantizer(worse).double().mean(1)
    share = ((mean - points[0]) / (points[1] - points[0])).mean()
    losses = (x - student.input_quantizer(worse)).square().mean((1, 2))
    assert float(share) == pytest.approx(float(losses[0] / losses.sum()), rel=1e-4)


@pytest.mark.parametrize("bias", [True, False])
@torch.no_grad()
def test_statistics_by_hand(bias):
    """Crops of four values: 1, without loss, and 3, of which 2 arrive. The mean square is 5, 1e-4 of it weighs 2000."""
    sixteenths = ActivationQuantizer(torch.tensor(-8.0), torch.tensor(7.9375), 8)
    student = QuantLinear(nn.Linear(1, 1, bias=bias), sixteenths, WeightQuantizer(None, torch.tensor(1.0), 8, True))
    x, noisy = (torch.tensor([1.0, second]).view(2, 1, 1).expand(2, 4, 1) for second in (3.0, 2.0))
    seen = statistics(student, x, noisy)
    mean = (2000 * 1 + 2) / 2001
    assert float(seen.mean) == pytest.approx(mean, abs=1e-7)
    assert float(seen.float_mean) == pytest.approx((2000 * 1 + 3) / 2001, abs=1e-7)
    assert float(seen.moments) == pytest.approx(4 * (2000 + 4) - bias * 4 * 2001 * mean**2, rel=1e-4)
    assert float(seen.lost) == pytest.approx(4 * 2 - bias * 4 * 2001 * mean / 2001, rel=1e-4)


def test_a_hundred_crops_decide(monkeypatch, teacher):
    seen = []
    monkeypatch.setattr(gptaq, "run_side_by_side", lambda student, images, visit: seen.append(images))
    batches = [torch.rand(60, 3, 40, 40) for _ in range(2)]
    apply_gptaq(teacher, batches)
    assert torch.equal(seen[0], torch.cat([batches[0], batches[1][:40]])[..., 4:36, 4:36])
