"""Rules that find bounds."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from srquant.grids.range_rules import (
    RunningBounds,
    minmax,
    mse,
    percentile,
    quantile,
    separate_bounds,
    shrink,
    squared_error,
    symmetric_max,
    symmetric_mse,
)
from srquant.grids.uniform import fake_quantize
from srquant.methods.ptq4sr.dual_clipping import dbdc
from srquant.models.load import load_model

RULES = {
    "minmax": minmax,
    "symmetric_max": symmetric_max,
    "percentile": percentile(0.01),
    "mse": mse,
    "symmetric_mse": symmetric_mse,
    "dbdc": dbdc(5e-4),
}


def test_moving_average():
    running = RunningBounds(minmax, 16, momentum=0.9)
    running.update(torch.tensor([[-1.0, 0.0, 1.0]]))
    running.update(torch.tensor([[-3.0, 0.0, 5.0]]))
    assert [b.item() for b in running.bounds()] == pytest.approx([-1.2, 1.4], abs=1e-6)


def test_outermost():
    running = RunningBounds(minmax, 16, momentum=None)
    for batch in ([-1.0, 5.0], [-3.0, 1.0], [0.0, 0.0]):
        running.update(torch.tensor([batch]))
    assert [b.item() for b in running.bounds()] == [-3.0, 5.0]


def test_mean_of_batches():
    running = RunningBounds(minmax, 16, momentum="mean")
    for batch in ([-1.0, 5.0], [-3.0, 1.0], [-8.0, 0.0]):
        running.update(torch.tensor([batch]))
    assert [b.item() for b in running.bounds()] == pytest.approx([-4.0, 2.0], abs=1e-6)


def test_no_batch_has_no_bounds():
    with pytest.raises(RuntimeError, match="no batch"):
        RunningBounds(minmax, 16, None).bounds()


def test_minmax_of_each_row():
    lower, upper = minmax(torch.tensor([[1.0, -2.0], [5.0, 3.0]]), 16)
    assert (lower.tolist(), upper.tolist()) == ([-2, 3], [1, 5])
    lower, upper = symmetric_max(torch.tensor([[1.0, -2.0], [5.0, 3.0]]), 16)
    assert (lower.tolist(), upper.tolist()) == ([-2, -5], [2, 5])


def test_percentile_of_uniform_values():
    lower, upper = percentile(0.01)(torch.rand(1, 1_000_000), 16)
    assert lower.item() == pytest.approx(0.01, abs=1e-3)
    assert upper.item() == pytest.approx(0.99, abs=1e-3)


def test_percentile_of_rectified_values_starts_at_zero():
    assert percentile(0.01)(torch.randn(1, 10_000).relu(), 16)[0].item() == 0.0


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 3), st.floats(0, 1), st.integers(0, 2**16))
def test_quantile_is_the_one_of_torch(size, rows, share, seed):
    values = torch.randn(rows, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    torch.testing.assert_close(quantile(values, share), torch.quantile(values, share, dim=1), rtol=0, atol=1e-12)


def test_quantile_of_more_values_than_torch_takes():
    values = torch.arange(2**24 + 2, dtype=torch.float32).view(1, -1)
    with pytest.raises(RuntimeError):
        torch.quantile(values, 0.5)
    assert quantile(values, 0.25).item() == pytest.approx(2**22, rel=1e-6)


@pytest.mark.parametrize(("bits", "smallest", "largest"), [(2, 0.33, 0.40), (4, 0.55, 0.70), (8, 0.85, 1.0)])
def test_mse_of_normal_values(bits, smallest, largest):
    """Choukroun et al. at 50,000 samples; the factors hold for grids that reach equally far to both sides."""
    rows, levels = torch.randn(1, 50_000), 2**bits
    widest, found = symmetric_max(rows, levels), symmetric_mse(rows, levels)
    assert smallest <= float(found[1] / widest[1]) <= largest
    for rule, whole in ((mse, minmax), (symmetric_mse, symmetric_max)):
        error = squared_error(rows, *rule(rows, levels), levels)
        assert float(error) < float(squared_error(rows, *whole(rows, levels), levels))


@settings(deadline=None, max_examples=15)
@given(st.integers(2, 8), st.integers(2, 300), st.integers(0, 2**16))
def test_mse_is_the_best_of_all_factors(bits, size, seed):
    rows = torch.randn(1, size, generator=torch.Generator().manual_seed(seed)) + 0.3
    lower, upper = minmax(rows, 2**bits)
    best = float(squared_error(rows, *mse(rows, 2**bits), 2**bits))
    for percent in range(1, 101):
        factor = percent / 100
        assert best <= float(squared_error(rows, factor * lower, factor * upper, 2**bits)) * (1 + 1e-5)


def test_mse_judges_each_row_by_itself():
    rows = torch.randn(3, 500) * torch.tensor([[0.1], [1.0], [7.0]])
    together = mse(rows, 16)
    for i in range(3):
        alone = mse(rows[i : i + 1], 16)
        assert [b[i].item() for b in together] == [b.item() for b in alone]


def test_squared_error_is_that_of_the_grid():
    rows, lower, upper = torch.randn(2, 100), torch.tensor([-1.0, -0.5]), torch.tensor([1.0, 2.0])
    for i in range(2):
        expected = (fake_quantize(rows[i], lower[i], upper[i], 8) - rows[i]).square().mean()
        assert squared_error(rows, lower, upper, 8)[i].item() == pytest.approx(expected.item(), rel=1e-6)


def per_channel_and_per_tensor_error(weight, rule, levels):
    rows, whole = weight.flatten(1), weight.reshape(1, -1)
    errors = (squared_error(values, *rule(values, levels), levels).mean() for values in (rows, whole))
    return [float(error) for error in errors]


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("rule", [symmetric_max, symmetric_mse])
def test_weight_grids_per_channel_are_better(rule, bits):
    weight = torch.randn(64, 64, 3, 3) * torch.rand(64, 1, 1, 1)
    per_channel, per_tensor = per_channel_and_per_tensor_error(weight, rule, 2**bits)
    assert per_channel < per_tensor


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("rule", [symmetric_max, symmetric_mse])
@pytest.mark.parametrize(
    "weights", ["edsr/edsr_r8f64_x2.pt", "carn/carn_x2_only.pth", "imdtn_swin/team09_imdtn_x4.pth"]
)
def test_published_weights_lose_less_per_channel(shared, weights, rule, bits):
    network = load_model(shared / "weights" / weights)
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            per_channel, per_tensor = per_channel_and_per_tensor_error(layer.weight.detach(), rule, 2**bits)
            assert per_channel <= per_tensor


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
@pytest.mark.parametrize("value", [0.0, 1e-20, 0.5, -3.0, 200.0])
@pytest.mark.parametrize("levels", [4, 255, 256])
def test_constant_values(rule, value, levels):
    running = RunningBounds(rule, levels, None)
    running.update(torch.full((2, 50), value))
    lower, upper = running.bounds()
    assert bool((lower < upper).all())
    points = fake_quantize(torch.full((2, 50), value), lower.unsqueeze(1), upper.unsqueeze(1), levels)
    assert bool(points.isfinite().all())
    off = float((upper - lower).max()) / (levels - 1)
    assert float((points - value).abs().max()) <= off + 1e-6 * abs(value)


def test_good_bounds_are_left_alone():
    lower, upper = torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 0.5])
    assert all(torch.equal(a, b) for a, b in zip(separate_bounds(lower, upper), (lower, upper), strict=True))


def test_narrow_rows_become_a_thousandth_of_the_widest():
    lower, upper = separate_bounds(torch.zeros(2), torch.tensor([10.0, 1e-9]))
    assert (upper - lower).tolist() == pytest.approx([10.0, 0.01])


@pytest.mark.parametrize(("value", "factor"), [(0.16, 0.51), (0.2, 0.6), (0.34, 1.0)])
def test_shrink_tries_100_percent_to_the_smallest(value, factor):
    """Points are -f, -f/3, f/3 and f: three times the value would fit best, 0.48, 0.6 and 1.02."""
    rows = torch.full((1, 10_000), value)
    rows[0, 0] = 1.0
    lower, upper = shrink(rows, 4, (torch.tensor([-1.0]), torch.tensor([1.0])), 51)
    assert (float(lower), float(upper)) == pytest.approx((-factor, factor))


def test_searches_judge_by_evenly_spaced_values():
    """Of twice as many values as are judged, every other one counts."""
    rows = torch.ones(1, 2**17)
    rows[:, ::2] = 0.16
    assert float(symmetric_mse(rows, 4)[1]) == pytest.approx(0.48)


def test_separate_bounds_of_equal_bounds():
    lower, upper = separate_bounds(torch.zeros(1), torch.zeros(1))
    assert (float(lower), float(upper)) == pytest.approx((0.0, 1e-6), rel=1e-6, abs=0)
    lower, upper = separate_bounds(torch.tensor([-10.0, 0.0]), torch.tensor([10.0, 0.0]))
    assert upper.tolist() == pytest.approx([10.0, 0.02])


def test_all_zero_until_a_value_is_not_zero():
    running = RunningBounds(minmax, 16, None)
    found = []
    for batch in ([0.0, 0.0], [0.0, 1.0], [0.0, 0.0]):
        running.update(torch.tensor([batch]))
        found.append(running.all_zero)
    assert found == [True, False, False]
