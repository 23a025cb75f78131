"""ODM: percentiles, the mismatch, and how its gradient joins the other."""

import pytest
import torch

from srquant.insertion.policy import LayerBits, Policy
from srquant.methods.odm.method import (
    ODM,
    OdmStudent,
    WeightClippingCorrection,
    cooperative_gradient,
    corrected_quantizers,
    distances_to_grid_points,
    mismatch,
    prepare,
)
from srquant.methods.options import configure
from srquant.models.load import build
from srquant.quantizers.layers import activation_quantizers, quant_layers

LOW, HIGH = torch.rand(3, 3, 12, 12), torch.rand(3, 3, 24, 24)


def student(*settings: str) -> OdmStudent:
    network = build("edsr", {"blocks": 1, "features": 4, "scale": 2})
    policy = Policy(LayerBits(3, 3), head=None, tail=None)
    return prepare(network, [LOW], policy, configure(ODM, settings), steps=8)


def test_the_mismatch_counts_as_much_as_it_agrees() -> None:
    gradient = torch.randn(5, 4)
    assert torch.allclose(cooperative_gradient(gradient, gradient, 0.1), 1.1 * gradient)
    assert torch.allclose(cooperative_gradient(gradient, -gradient, 0.1), gradient)
    other = torch.randn(5, 4)
    added = (cooperative_gradient(gradient, other, 1.0) - gradient) / other
    assert added.max() - added.min() < 1e-4
    assert 0 <= added.mean() <= 1


def test_weights_reach_up_to_gamma_times_the_percentile_of_the_present_weights() -> None:
    trained = student()
    layer = quant_layers(trained.network)["body.0.body.0"]
    layer.layer.weight.data.mul_(3)
    trained.after_step(0)
    percentile = torch.quantile(layer.weight.detach().abs(), 0.99)
    assert torch.allclose(layer.weight_quantizer.grid()[1], percentile)
    (quantizer,) = [q for q in corrected_quantizers(trained.network) if q is layer.weight_quantizer]
    quantizer.gamma.data.fill_(0.5)
    assert torch.allclose(quantizer.grid()[1], percentile / 2)
    settled = quant_layers(trained.result().network)["body.0.body.0"].weight_quantizer.upper
    assert torch.allclose(settled, percentile / 2, rtol=0.02), "settling stretches by a percent or two"


def test_the_gradient_to_gamma_is_that_of_the_bound_times_the_percentile() -> None:
    quantizer = WeightClippingCorrection(torch.tensor(0.5), 3)
    quantizer(torch.tensor([4.0, -4.0, 0.0])).mul(torch.tensor([1.0, -1.0, 0.0])).sum().backward()
    assert quantizer.gamma.grad == pytest.approx(1.0)


def test_first_bounds_are_percentiles() -> None:
    trained = student()
    head = trained.network.module.head(trained.network.module.sub_mean(255 * LOW)).detach().flatten()
    quantizer = activation_quantizers(trained.network)["body.0.body.0"]
    assert torch.allclose(quantizer.lower, torch.quantile(head, 0.01))
    assert torch.allclose(quantizer.upper, torch.quantile(head, 0.99))


def test_the_mismatch_is_the_sum_of_distances_to_grid_points() -> None:
    network = student().network
    quantizers = list(activation_quantizers(network).values())
    seen = []
    handles = [q.register_forward_hook(lambda q, inputs, points: seen.append((inputs[0], points))) for q in quantizers]
    with distances_to_grid_points(network) as measured:
        network(LOW)
    for handle in handles:
        handle.remove()
    distances = [(x - points).flatten(1).square().sum(1).sqrt().mean() for x, points in seen]
    assert len(distances) == 3
    assert torch.allclose(mismatch(measured), torch.stack(distances).sum())


def test_a_step_uses_both_gradients_for_each_parameter() -> None:
    weight = 0.5
    plain, both = student("mismatch_weight=0"), student(f"mismatch_weight={weight}")
    both.load_state_dict(plain.state_dict())
    for trained in (plain, both):
        trained(LOW, HIGH, 0).backward()
        mismatch = trained.mismatch_gradients
        trained.after_backward()
    assert any(gradient is not None and bool(gradient.any()) for gradient in mismatch)
    for alone, joined, gradient in zip(plain.learned(), both.learned(), mismatch, strict=True):
        wanted = alone.grad if gradient is None else cooperative_gradient(alone.grad, gradient, weight)
        assert torch.allclose(joined.grad, wanted, rtol=1e-4, atol=1e-6)


def test_bounds_learn_ten_times_as_fast_and_rates_halve_in_each_quarter() -> None:
    trained = student()
    network, factors, *bounds = trained.rates()
    assert network.learning_rate == 1e-4
    assert [rate.learning_rate for rate in (factors, *bounds)] == [pytest.approx(1e-3)] * 4
    assert [trained.rate_factor(step) for step in range(8)] == [1, 1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125]
