"""DAQ's quantizers: number of points, mean, scaling, and both sources of the step."""

import pytest
import torch

from srquant.methods.daq.quantizer import STEPS, DAQQuantizer, StdWeightQuantizer, mid_rise, unit_step


def normal(*shape: int) -> torch.Tensor:
    """Channels of different means and deviations."""
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(*shape, generator=generator)
    means, spreads = (torch.randn(shape[1], generator=generator).view(1, -1, 1, 1) for _ in range(2))
    return 3 * means + (0.5 + spreads.abs()) * x


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("source", ["code", "table"])
def test_signed_grid_has_at_most_so_many_points(bits: int, source: str):
    x = normal(2, 3, 64, 64)
    points = DAQQuantizer(bits, False, source, spread_bits=8)(x)
    counts = [len(channel.unique()) for sample in points for channel in sample]
    assert max(counts) <= 2**bits
    assert max(counts) == 2**bits or bits > 3


@pytest.mark.parametrize("bits", [2, 4])
def test_mean_of_a_channel_stays_within_half_a_step(bits: int):
    x = normal(2, 4, 32, 32)
    quantizer = DAQQuantizer(bits, False, "code", spread_bits=0)
    shift = (quantizer(x) - x).mean((2, 3)).abs()
    step = unit_step(bits, "code") * x.std((2, 3))
    assert (shift < step / 2).all()


@pytest.mark.parametrize("rectified", [False, True])
def test_scaling_a_channel_scales_its_output(rectified: bool):
    x = normal(1, 3, 16, 16)
    x = x.relu() if rectified else x
    quantizer = DAQQuantizer(4, rectified, "code", spread_bits=0)
    scaled = x.clone()
    scaled[:, 1] *= 4
    assert torch.equal(quantizer(scaled)[:, 1], 4 * quantizer(x)[:, 1])
    assert torch.equal(quantizer(scaled)[:, 0], quantizer(x)[:, 0])


def test_scaling_all_channels_scales_all_outputs_with_deviations_on_their_grid():
    x = normal(1, 6, 16, 16)
    quantizer = DAQQuantizer(4, False, "code", spread_bits=4)
    assert torch.equal(quantizer(8 * x), 8 * quantizer(x))


def test_deviations_on_a_grid_have_few_values():
    x = normal(1, 64, 16, 16)
    _, step = DAQQuantizer(4, False, "code", spread_bits=2).grid(x)
    assert 1 < len(step.unique()) <= 4


def test_points_lie_around_the_mean():
    """Two bits: mean +- step/2 and mean +- 3 step/2."""
    x = torch.tensor([-4.0, -1.0, 1.0, 4.0]).reshape(1, 1, 1, 4) + 7
    step = unit_step(2, "table") * float(x.std())
    points = DAQQuantizer(2, False, "table", spread_bits=0)(x).flatten()
    expected = 7 + step * torch.tensor([-1.5, -0.5, 0.5, 1.5])
    assert torch.allclose(points, expected)


def test_behind_a_relu_zero_stays_zero_and_nothing_is_clipped():
    x = torch.cat([torch.zeros(50), torch.full((49,), 1.0), torch.tensor([40.0])]).reshape(1, 1, 10, 10)
    quantizer = DAQQuantizer(2, True, "table", spread_bits=0)
    _, step = quantizer.grid(x)
    points = quantizer(x)
    assert (points[x == 0] == 0).all()
    assert abs(float(points.max()) - 40) <= float(step) / 2
    x = normal(2, 3, 16, 16).relu()
    _, step = quantizer.grid(x)
    assert ((quantizer(x) - x).abs() <= step / 2 + 1e-6).all()


def test_deviation_behind_a_relu_counts_positive_values_and_one_more():
    x = torch.tensor([0.0, 0.0, 1.0, 3.0]).reshape(1, 1, 2, 2)
    _, step = DAQQuantizer(4, True, "table", spread_bits=0).grid(x)
    assert float(step) == pytest.approx(0.335 * (10 / 3 - (4 / 3) ** 2) ** 0.5)


def test_a_channel_of_one_value_keeps_it():
    x = normal(1, 2, 8, 8)
    x[:, 1] = 5.0
    points = DAQQuantizer(4, False, "code", spread_bits=0)(x)
    assert (points[:, 1] == 5.0).all()


def test_gradient_passes_unchanged():
    x = normal(1, 2, 8, 8).requires_grad_()
    weights = torch.randn(1, 2, 8, 8)
    (DAQQuantizer(2, False, "code", spread_bits=8)(x) * weights).sum().backward()
    assert torch.equal(x.grad, weights)


@pytest.mark.parametrize("settings", [{"bits": 9}, {"spread_bits": 1}, {"step": "paper"}, {"channel_axis": 2}])
def test_impossible_settings_are_refused(settings: dict[str, object]):
    with pytest.raises(ValueError, match=r"bits|step|channel_axis"):
        DAQQuantizer(**{"bits": 4, "rectified": False, "step": "code", "spread_bits": 8} | settings)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_weight_grid_follows_the_deviation(bits: int):
    weight = torch.randn(8, 8, 3, 3, generator=torch.Generator().manual_seed(2))
    quantizer = StdWeightQuantizer(bits, "table")
    points = quantizer(weight)
    values = points.unique()
    assert len(values) <= 2**bits
    step = unit_step(bits, "table") * float(weight.std())
    assert torch.allclose(values.diff() / step, (values.diff() / step).round(), atol=1e-4)
    assert torch.allclose(points, quantizer.deployable(weight)(weight), atol=1e-6)
    assert torch.allclose(quantizer(3 * weight), 3 * points, atol=1e-5)


def test_weight_gradient_passes_unchanged():
    weight = torch.randn(4, 4, 3, 3, requires_grad=True)
    StdWeightQuantizer(2, "code")(weight).sum().backward()
    assert torch.equal(weight.grad, torch.ones_like(weight))


@pytest.mark.parametrize(("bits", "step"), STEPS.items())
def test_steps_are_the_best_for_a_normal_distribution(bits: int, step: float):
    """On a million quantiles: two hundredths less or more is worse."""
    x = torch.special.ndtri((torch.arange(1_000_000, dtype=torch.float64) + 0.5) / 1_000_000)
    errors = [float((mid_rise(x / s, bits) * s - x).square().mean()) for s in (0.98 * step, step, 1.02 * step)]
    assert min(errors) == errors[1]


@pytest.mark.parametrize("rectified", [False, True])
def test_a_channel_without_deviation_has_the_code_zero(rectified: bool):
    assert not DAQQuantizer(4, rectified, "code", spread_bits=0).codes(torch.zeros(1, 2, 3, 3)).any()


def test_equal_deviations_stay_as_they_are():
    x = normal(1, 1, 8, 8).expand(1, 3, 8, 8)
    _, step = DAQQuantizer(4, False, "table", spread_bits=8).grid(x)
    torch.testing.assert_close(step, 0.335 * x.std((2, 3), keepdim=True))
