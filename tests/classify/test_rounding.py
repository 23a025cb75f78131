import itertools

import pytest
import torch

from srquant.classify.reconstruct import Schedule
from srquant.classify.rounding import AdaptiveRounding, beta_at, logits_of, penalty, rectified_sigmoid
from srquant.classify.search import lp_error, search_grid


@pytest.fixture
def weight():
    return 0.1 * torch.randn(6, 3, 3, 3)


def rounding_of(weight, bits=4):
    return AdaptiveRounding(weight, *search_grid(weight.flatten(1), 1 << bits), 1 << bits)


def test_soft_weights_start_at_the_float_ones_inside_the_clip_range(weight):
    rounding = rounding_of(weight)
    rounding.soft = True
    codes = weight / rounding.scale + rounding.zero_point
    inside = (codes >= 0) & (codes <= 15)
    assert inside.float().mean() > 0.9
    torch.testing.assert_close(rounding()[inside], weight[inside], atol=1e-6, rtol=0)


def test_hard_weights_start_at_the_nearest_grid_points(weight):
    rounding = rounding_of(weight)
    codes = ((weight / rounding.scale).round() + rounding.zero_point).clamp(0, 15)
    assert torch.equal(rounding(), rounding.scale * (codes - rounding.zero_point))


def test_logits_from_zero_on_round_up(weight):
    rounding = rounding_of(weight)
    rounding.logits.data = torch.where(torch.rand_like(weight) < 0.5, 0.0, -1e-3)
    codes = (rounding.floor + rounding.zero_point + (rounding.logits >= 0).float()).clamp(0, 15)
    assert torch.equal(rounding(), rounding.scale * (codes - rounding.zero_point))
    assert torch.equal(rounding.share(), (rectified_sigmoid(rounding.logits) >= 0.5).float())


def test_logits_are_the_inverse_of_the_rectified_sigmoid():
    share = torch.linspace(0, 1, 101)
    torch.testing.assert_close(rectified_sigmoid(logits_of(share)), share, atol=1e-6, rtol=0)


@pytest.mark.parametrize("beta", [20.0, 7.3, 2.0])
def test_the_penalty_counts_the_undecided(beta):
    assert penalty(torch.tensor([0.0, 1.0, 1.0]), beta) == 0
    assert penalty(torch.full((7, 3), 0.5), beta) == 21


def test_beta_is_constant_and_then_falls_linearly():
    values = [beta_at(step, 1000, 0.2, 20.0, 2.0) for step in range(1001)]
    assert values[:201] == [20.0] * 201
    assert values[1000] == 2.0
    assert values[600] == pytest.approx(11.0)
    steps = [b - a for a, b in itertools.pairwise(values[200:])]
    assert steps == pytest.approx([-18 / 800] * 800)


def test_the_schedule_leaves_the_penalty_out_at_first(weight):
    rounding = rounding_of(weight)
    rounding.soft = True
    schedule = Schedule(100)
    assert schedule.penalty([rounding], 19) == 0
    expected = 0.01 * penalty(rounding.share(), 20.0)
    torch.testing.assert_close(schedule.penalty([rounding], 20), expected)
    torch.testing.assert_close(schedule.penalty([rounding], 100), 0.01 * penalty(rounding.share(), 2.0))


def test_the_searched_grid_is_no_worse_than_the_widest_and_holds_zero():
    rows = torch.randn(5, 400).pow(3)
    scale, zero_point = search_grid(rows, 8)
    low, high = rows.amin(1), rows.amax(1)
    widest = (high - low) / 7
    error = lp_error(rows, scale, zero_point, 8)
    assert (error < lp_error(rows, widest, (-low / widest).round(), 8)).all()
    assert torch.equal(zero_point, zero_point.round().clamp(0, 7))


def test_a_row_of_zeros_has_a_grid():
    scale, zero_point = search_grid(torch.zeros(1, 9), 16)
    assert scale > 0
    assert zero_point == 0
