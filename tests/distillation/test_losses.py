"""Distillation losses against hand-made values."""

import math

import pytest
import torch

from srquant.distillation.losses import (
    attention_loss,
    feature_distance,
    feature_loss,
    normalised,
    output_loss,
    root_mean_square,
    squared_distance,
)


def test_normalised_samples_have_length_one():
    feature = torch.randn(3, 2, 4, 5)
    assert normalised(feature).flatten(1).norm(dim=1).tolist() == pytest.approx([1, 1, 1], rel=1e-6)
    torch.testing.assert_close(normalised(7 * feature), normalised(feature))
    assert not normalised(torch.zeros(1, 2, 2, 2)).any()
    torch.testing.assert_close(normalised(torch.tensor([[3e-9, 4e-9]])), torch.tensor([[0.6, 0.8]]))


@pytest.mark.parametrize("shape", [(3, 4, 5, 6), (2, 40, 50, 60), (2, 7, 8)], ids=["small", "pieces", "tokens"])
def test_squared_distance_is_that_of_normalised_features(shape):
    target = normalised(torch.randn(shape))
    feature = (target + 0.01 * torch.randn(shape)).transpose(-1, -2).requires_grad_()
    target, factors = target.transpose(-1, -2), torch.arange(1.0, 1 + shape[0])
    (gradient,) = torch.autograd.grad(squared_distance(feature, target), feature, factors)
    expected = (normalised(feature) - target).square().flatten(1).sum(1)
    (expected_gradient,) = torch.autograd.grad(expected, feature, factors)
    torch.testing.assert_close(squared_distance(feature, target), expected)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=1e-6 * float(expected_gradient.abs().max()))


def test_feature_loss_is_two_minus_twice_the_cosine():
    student = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)
    teacher = normalised(torch.tensor([5.0, 12.0]).view(1, 2, 1, 1))
    cosine = (3 * 5 + 4 * 12) / (5 * 13)
    assert feature_loss([student], [teacher]).item() == pytest.approx(2 - 2 * cosine, rel=1e-5)


def test_feature_loss_is_the_mean_over_modules_and_samples():
    x, y = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    right, opposite = torch.stack([x, x]), torch.stack([x, -x])
    across = torch.stack([x, y])
    assert feature_loss([right, 5 * right], [right, opposite]).item() == pytest.approx((0 + 0 + 0 + 4) / 4)
    assert feature_loss([right], [across]).item() == pytest.approx((0 + 2) / 2)


@pytest.mark.parametrize("loss", [feature_loss, feature_distance, attention_loss])
def test_losses_of_features_need_equally_many_modules(loss):
    x = torch.ones(1, 2, 2, 2)
    with pytest.raises(ValueError, match="zip"):
        loss([x, x], [x])


def test_attention_loss_is_the_mean_over_modules_of_any_size():
    """Maps 1 0 and 0 1 are 1 apart in the mean square, the others are equal up to a factor."""
    student = torch.tensor([2.0, 0.0]).view(1, 1, 1, 2), torch.full((1, 3, 2, 2), 5.0)
    teacher = torch.tensor([0.0, 7.0]).view(1, 1, 1, 2), torch.full((1, 3, 2, 2), 0.1)
    assert attention_loss(list(student), list(teacher)).item() == pytest.approx(0.5)


def test_feature_loss_has_a_gradient_across_the_feature_only():
    student = torch.tensor([[3.0, 4.0]], requires_grad=True)
    feature_loss([student], [torch.tensor([[0.0, 1.0]])]).backward()
    along = (student.grad * student.detach()).sum()
    assert student.grad.norm().item() == pytest.approx(2 * math.sin(math.atan2(3, 4)) / 5, rel=1e-5)
    assert along.item() == pytest.approx(0, abs=1e-6)


def test_output_loss_is_the_mean_absolute_difference():
    assert output_loss(torch.tensor([1.0, 2.0]), torch.tensor([0.5, 4.0])).item() == 1.25


def test_root_mean_square_is_that_of_all_values_and_rests_at_zero():
    pictures = torch.tensor([[[[0.0, 3.0], [4.0, 0.0]]]], requires_grad=True)
    assert root_mean_square(pictures, torch.zeros_like(pictures)).item() == pytest.approx(2.5)
    assert root_mean_square(pictures, pictures).item() == pytest.approx(1e-12, rel=1e-3, abs=0)
    root_mean_square(pictures, pictures.detach()).backward()
    assert torch.equal(pictures.grad, torch.zeros_like(pictures))
