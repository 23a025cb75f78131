"""Learned quantizers with redistribution: closed forms of forward and gradients."""

import math

import pytest
import torch
from torch import Tensor, nn

from srquant.insertion.policy import LayerBits
from srquant.methods.quantsr.redistribution import phi_slope, rlq_quantize
from srquant.methods.quantsr.rlq import ActivationRLQ, WeightRLQ
from srquant.methods.quantsr.rlq_layers import RLQLayer, RLQMatmul
from srquant.models.blocks.layers import Matmul
from srquant.quantizers.base import ActivationQuantizer
from srquant.quantizers.shifted import ShiftedQuantizer

BITS = pytest.mark.parametrize("bits", [2, 3, 4, 8])


def numbers(count: int = 4001, reach: float = 6.0) -> Tensor:
    """Evenly spaced, ties and whole numbers among them."""
    return torch.linspace(-reach, reach, count, dtype=torch.float64)


def phi(y: Tensor, k: float) -> Tensor:
    """The function whose slope gradients have."""
    floor = y.floor()
    return floor + 0.5 + (k * (y - floor - 0.5)).tanh() / (2 * math.tanh(k / 2))


def rlq_round(y: Tensor, k: float) -> Tensor:
    """With a step of one and no end."""
    one, far = torch.ones((), dtype=y.dtype), torch.tensor(math.inf, dtype=y.dtype)
    return rlq_quantize(y, one, -far, far, k, one)


@pytest.mark.parametrize("k", [0.0, 0.5, 1.0, 2.0])
def test_round_is_round(k: float):
    assert torch.equal(rlq_round(numbers(), k), numbers().round())


@pytest.mark.parametrize("k", [0.5, 1.0, 2.0])
def test_redistribution_leaves_whole_and_half_numbers_and_every_rounding(k: float):
    halves = torch.arange(-10, 11, dtype=torch.float64) / 2
    assert torch.allclose(phi(halves, k), halves, atol=1e-12)
    values = numbers(4000)
    assert torch.equal(phi(values, k).round(), values.round())
    assert bool((phi(values, k).diff() > 0).all())


@pytest.mark.parametrize("k", [0.5, 1.0, 2.0])
def test_gradient_of_round_is_the_slope_of_redistribution(k: float):
    values = (numbers(4000) + 1e-4).requires_grad_()
    (of_round,) = torch.autograd.grad(rlq_round(values, k).sum(), values)
    (of_phi,) = torch.autograd.grad(phi(values, k).sum(), values)
    assert torch.allclose(of_round, of_phi, atol=1e-12)


@pytest.mark.parametrize(("k", "at_tie", "at_point"), [(1.0, 1.0820, 0.8509), (2.0, 1.3130, 0.5514)])
def test_slopes_as_published(k: float, at_tie: float, at_point: float):
    slopes = phi_slope(torch.tensor([0.5, 0.0, -0.5, 3.0], dtype=torch.float64), k)
    assert slopes.tolist() == pytest.approx([at_tie, at_point, at_tie, at_point], abs=5e-5)


@pytest.mark.parametrize("k", [0.5, 1.0, 2.0])
def test_slope_has_mean_one_over_a_step(k: float):
    middles = (torch.arange(10000, dtype=torch.float64) + 0.5) / 10000
    assert float(phi_slope(middles, k).mean()) == pytest.approx(1.0, abs=1e-7)


def plain(values: Tensor, step: Tensor, first: int, last: int) -> Tensor:
    return (values / step).round().clamp(first, last) * step


@BITS
def test_forward_is_a_plain_uniform_quantizer(bits: int):
    weight, activation = WeightRLQ(bits, 1.0), ActivationRLQ(bits, 1.0, 3, -3)
    values = torch.randn(2, 3, 50, 50)
    weight.start(values)
    activation.start(values)
    last = 2 ** (bits - 1) - 1
    assert torch.equal(weight(values), plain(values, weight.alpha, max(-last - 1, -127), last))
    assert torch.equal(activation(values), plain(values, activation.alpha, -last - 1, last))


@BITS
def test_gradients_are_those_of_lsq_with_the_slope_inside(bits: int):
    quantizer = WeightRLQ(bits, 1.0).double()
    values = numbers(999, 3.0).requires_grad_()
    quantizer.start(values)
    first, last = float(quantizer.first), float(quantizer.last)
    grad = torch.randn(999, dtype=torch.float64)
    quantizer(values).backward(grad)
    v = (values / quantizer.alpha).detach()
    slope = phi_slope(v, 1.0)
    inside = (v >= first) & (v <= last)
    of_step = torch.where(inside, v.round() - v * slope, v.clamp(first, last))
    scale = 1 / math.sqrt(999 * last)
    assert values.grad is not None
    assert quantizer.alpha.grad is not None
    assert torch.allclose(values.grad, grad * slope * inside)
    assert float(quantizer.alpha.grad) == pytest.approx(float((grad * of_step).sum()) * scale)


@BITS
def test_without_bend_it_is_lsq(bits: int):
    """Straight-through rounding by autograd, with the gradient scale of LSQ."""
    quantizer = WeightRLQ(bits, 0.0).double()
    values = numbers(999, 3.0).requires_grad_()
    quantizer.start(values)
    quantizer(values).square().sum().backward()
    same, step = values.detach().clone().requires_grad_(), quantizer.alpha.detach().clone().requires_grad_()
    clipped = (same / step).clamp(quantizer.first, quantizer.last)
    ((clipped + (clipped.round() - clipped).detach()) * step).square().sum().backward()
    assert values.grad is not None
    assert same.grad is not None
    assert step.grad is not None
    assert quantizer.alpha.grad is not None
    assert torch.allclose(values.grad, same.grad)
    assert float(quantizer.alpha.grad) == pytest.approx(float(step.grad) / math.sqrt(999 * float(quantizer.last)))


def test_the_step_learns_where_the_values_are_constants():
    """Of 0.6 and 9 with the step 0.5 and the last code 7: 1 - 1.2 + 7."""
    step, first, last, one = (torch.tensor(number) for number in (0.5, -8.0, 7.0, 1.0))
    rlq_quantize(torch.tensor([0.6, 9.0]), step.requires_grad_(), first, last, 0.0, one).sum().backward()
    assert step.grad.item() == pytest.approx(1 - 1.2 + 7)


def test_small_bend_approaches_lsq():
    assert torch.allclose(phi_slope(numbers(), 1e-3), torch.ones(4001, dtype=torch.float64), atol=1e-6)
    assert torch.equal(phi_slope(numbers(), 0.0), torch.ones(4001, dtype=torch.float64))


def test_gradients_by_differences_where_the_function_is_smooth():
    """Outside the codes nothing is rounded, so finite differences hold."""
    values = torch.tensor([-9.0, -8.5, 7.5, 12.0], dtype=torch.float64, requires_grad=True)
    step = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    first, last, one = (torch.tensor(number, dtype=torch.float64) for number in (-8.0, 7.0, 1.0))
    assert torch.autograd.gradcheck(lambda v, s: rlq_quantize(v, s, first, last, 1.0, one), (values, step))


@BITS
def test_steps_start_as_lsq_and_signs_are_detected(bits: int):
    signed, rectified = torch.randn(1, 3, 40, 40), torch.randn(1, 3, 40, 40).relu()
    for values, first, last in ((signed, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1), (rectified, 0, 2**bits - 1)):
        quantizer = ActivationRLQ(bits, 1.0, 3, -3)
        quantizer.start(values)
        assert (float(quantizer.first), float(quantizer.last)) == (first, last)
        assert float(quantizer.alpha.detach()) == pytest.approx(2 * float(values.abs().mean()) / math.sqrt(last))
    weight = WeightRLQ(bits, 1.0)
    weight.start(rectified)
    assert float(weight.first) == max(-(2 ** (bits - 1)), -127)


def test_hardly_negative_is_not_negative():
    quantizer = ActivationRLQ(4, 1.0, 3)
    quantizer.start(torch.tensor([-1e-6, 1.0]))
    assert float(quantizer.first) == 0
    quantizer.start(torch.tensor([-2e-5, 1.0]))
    assert float(quantizer.first) == -8


def test_smallest_steps():
    """Of zeros: 1e-8. Of a mean of 1 at 3 bits: 2 / sqrt(3), and from then on no less than a thousandth of it."""
    quantizer = WeightRLQ(3, 1.0)
    quantizer.start(torch.zeros(4))
    assert quantizer.alpha.item() == pytest.approx(1e-8, rel=1e-5, abs=0)
    quantizer.start(torch.tensor([1.0, -1.0]))
    quantizer.keep_positive()
    assert quantizer.alpha.item() == pytest.approx(2 / math.sqrt(3))
    quantizer.alpha.data.fill_(-1.0)
    quantizer.keep_positive()
    assert quantizer.alpha.item() == pytest.approx(2e-3 / math.sqrt(3), abs=1e-9)


def test_grids_to_deploy_are_constants_and_symmetric_at_8_bits_alone():
    assert [WeightRLQ(bits, 1.0).deployable().symmetric for bits in (4, 8)] == [False, True]
    assert not any(bound.requires_grad for bound in WeightRLQ(4, 1.0).bounds())


@BITS
def test_number_of_levels(bits: int):
    values = 4 * torch.randn(1, 3, 100, 100)
    for quantizer in (WeightRLQ(bits, 1.0), ActivationRLQ(bits, 1.0, 3, -3)):
        quantizer.start(values / 4)
        assert len(quantizer(values).unique()) <= 2**bits


@pytest.mark.parametrize("linear", [False, True])
def test_shift_is_per_channel_trained_and_not_taken_off_again(linear: bool):
    quantizer = ActivationRLQ(4, 1.0, 3, -1 if linear else -3)
    x = torch.randn(2, 3, 5, 3) if linear else torch.randn(2, 3, 5, 7)
    quantizer.start(x)
    assert quantizer.tau is not None
    step = quantizer.alpha.item()
    x = x.clamp(-4 * step, 4 * step)
    by_steps = torch.tensor([0.0, 1.0, -2.0]).reshape(quantizer.tau.shape) * step
    before = quantizer(x)
    quantizer.tau.data.copy_(by_steps)
    assert torch.allclose(quantizer(x), before + by_steps, atol=1e-5)
    quantizer(x).square().sum().backward()
    assert quantizer.tau.grad is not None
    assert bool((quantizer.tau.grad != 0).all())


@BITS
@pytest.mark.parametrize("rectified", [False, True])
def test_deployable_layer_computes_the_same(bits: int, rectified: bool):
    layer = RLQLayer(nn.Conv2d(3, 5, 3, padding=1), LayerBits(bits, bits), 1.0)
    x = torch.randn(2, 3, 9, 8).relu() if rectified else torch.randn(2, 3, 9, 8)
    layer.input_quantizer.start(x)
    assert layer.input_quantizer.tau is not None
    layer.input_quantizer.tau.data.uniform_(-0.2, 0.2)
    deployed = layer.deployable()
    assert isinstance(deployed.input_quantizer, ShiftedQuantizer)
    assert torch.allclose(deployed(x), layer(x), atol=1e-5)


@BITS
def test_weight_grids_are_integer_as_they_are(bits: int):
    weight = torch.randn(6, 3, 3, 3)
    quantizer = WeightRLQ(bits, 1.0)
    quantizer.start(weight)
    integer = quantizer.deployable().integer_weight(weight)
    assert integer.multiplier.tolist() == [1] * 6
    assert torch.allclose(integer.values().float(), quantizer(weight), atol=1e-6)
    assert integer.scale.tolist() == pytest.approx([quantizer.alpha.item()] * 6)


def test_deployable_product_computes_the_same_with_fixed_bounds():
    product = RLQMatmul(Matmul(), 4, 1.0)
    a, b = torch.randn(2, 5, 3), torch.rand(2, 3, 4)
    product.left.start(a)
    product.right.start(b)
    deployed = product.deployable()
    assert [type(q) for q in (deployed.left, deployed.right)] == [ActivationQuantizer] * 2
    torch.testing.assert_close(deployed(a, b), product(a, b))
