"""The grid: its points, its rounding, its straight-through gradients."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from srquant.grids import uniform
from srquant.grids.uniform import (
    codes,
    fake_quantize,
    fake_quantize_bits,
    on_lattice,
    relative_step,
    step_size,
    zero_point,
)

bits = st.integers(2, 8)
lowers = st.floats(-10, 10, width=32)
widths = st.floats(0.015625, 100, width=32)
shapes = st.lists(st.integers(1, 5), min_size=0, max_size=4)
seeds = st.integers(0, 2**16)


def bounds_of(lower: float, width: float) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(lower), torch.tensor(lower + width)


def values_around(lower: torch.Tensor, upper: torch.Tensor, shape: list[int], seed: int) -> torch.Tensor:
    """Inside the bounds and up to half their distance outside."""
    random = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    return lower + (upper - lower) * (2 * random - 0.5)


@settings(deadline=None)
@given(bits, lowers, widths)
def test_grid_points_survive_exactly(bits, lower, width):
    lower, upper = bounds_of(lower, width)
    integers = torch.arange(2**bits).float()
    points = integers * step_size(lower, upper, 2**bits) + lower
    assert torch.equal(codes(points, lower, upper, 2**bits), integers)
    assert torch.equal(fake_quantize(points, lower, upper, 2**bits), points)


@settings(deadline=None)
@given(bits, lowers, widths, shapes, seeds)
def test_nearest_point(bits, lower, width, shape, seed):
    lower, upper = bounds_of(lower, width)
    x = values_around(lower, upper, shape, seed)
    step = float(step_size(lower, upper, 2**bits))
    points = fake_quantize(x, lower, upper, 2**bits)
    rounding = 4e-7 * (10 + width)
    assert points.shape == x.shape
    assert float((points - x.clamp(lower, upper)).abs().max()) <= step / 2 + rounding
    integers = codes(x, lower, upper, 2**bits)
    assert torch.equal(integers, integers.round())
    assert int(integers.min()) >= 0
    assert int(integers.max()) < 2**bits


@settings(deadline=None)
@given(bits, lowers, widths, seeds)
def test_order_is_kept_and_twice_is_once(bits, lower, width, seed):
    lower, upper = bounds_of(lower, width)
    x = values_around(lower, upper, [200], seed).sort().values
    points = fake_quantize(x, lower, upper, 2**bits)
    assert bool((points.diff() >= 0).all())
    assert torch.equal(fake_quantize(points, lower, upper, 2**bits), points)


def test_rounds_half_to_even():
    x = torch.tensor([0.5, 1.5, 2.5])
    assert codes(x, torch.tensor(0.0), torch.tensor(3.0), 4).tolist() == [0, 2, 2]


@pytest.mark.parametrize(
    ("x", "lower", "upper", "point", "to_upper", "to_lower", "to_x"),
    [
        (0.2, -1.0, 1.0, 1 / 3, 2 / 3 - 0.6, 0.6 - 2 / 3, 1.0),
        (3.0, -1.0, 1.0, 1.0, 1.0, 0.0, 0.0),
        (-3.0, -1.0, 1.0, -1.0, 0.0, 1.0, 0.0),
        (1.4, 0.0, 3.0, 1.0, -0.4 / 3, 0.4 / 3, 1.0),
    ],
    ids=["2DQuant inside", "2DQuant above", "below", "GBA inside"],
)
def test_published_spot_cases(x, lower, upper, point, to_upper, to_lower, to_x):
    tensors = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (x, lower, upper)]
    result = fake_quantize(*tensors, 4)
    result.backward()
    assert result.item() == pytest.approx(point, abs=1e-12)
    assert [t.grad.item() for t in tensors] == pytest.approx([to_x, to_lower, to_upper], abs=1e-12)


def closed_forms(x, lower, upper, levels):
    """Equation 2 of 2DQuant: derivatives to ``x``, ``lower``, ``upper`` of each element."""
    position = (x.clamp(lower, upper) - lower) / (upper - lower)
    rounded = (position * (levels - 1)).round() / (levels - 1)
    to_upper = (x > upper).double() + rounded - position
    to_lower = (x < lower).double() - rounded + position
    return ((x >= lower) & (x <= upper)).double(), to_lower, to_upper


@settings(deadline=None)
@given(bits, st.sampled_from([(), (3, 1, 1), (1, 3, 1, 1)]), seeds)
def test_gradients_are_the_closed_forms(bits, shape, seed):
    generator = torch.Generator().manual_seed(seed)
    x = 2 * torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.float64)
    lower = -1 - torch.rand(shape, generator=generator, dtype=torch.float64)
    upper = 1 + torch.rand(shape, generator=generator, dtype=torch.float64)
    arriving = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    tensors = [t.clone().requires_grad_() for t in (x, lower, upper)]
    fake_quantize(*tensors, 2**bits).backward(arriving)
    for tensor, form in zip(tensors, closed_forms(x, lower, upper, 2**bits), strict=True):
        expected = (arriving * form).sum_to_size(tensor.shape)
        torch.testing.assert_close(tensor.grad, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("shape", [(), (1,)], ids=["one pair of bounds", "an axis of bounds"])
def test_only_wanted_gradients(shape):
    x = torch.randn(10, requires_grad=True)
    fake_quantize(x, torch.full(shape, -1.0), torch.full(shape, 1.0), 4).sum().backward()
    assert torch.equal(x.grad, (x.abs() <= 1).float())


@settings(deadline=None)
@given(bits, lowers, widths)
def test_zero_point_is_the_code_of_zero(bits, lower, width):
    lower, upper = bounds_of(lower, width)
    point = int(zero_point(lower, upper, 2**bits))
    points = torch.arange(2**bits) * step_size(lower, upper, 2**bits).double() + lower
    assert float(points[point].abs()) <= float(points.abs().min()) * (1 + 1e-5) + 1e-5 * width


def test_relative_step():
    assert relative_step(torch.tensor(0.0), torch.tensor(1.0)) is None
    assert relative_step(torch.zeros(2), torch.tensor([1.0, 3.0])).tolist() == [0.5, 1.5]


def test_on_lattice():
    values = torch.tensor([0.3, 0.37, -0.7], dtype=torch.float64)
    assert on_lattice(values, None) is values
    snapped = on_lattice(values, 0.25)
    assert snapped.dtype == torch.float32
    assert snapped.tolist() == [0.25, 0.25, -0.75]


def test_bits_as_a_tensor_give_the_same_grid_and_gradients():
    random = torch.Generator().manual_seed(0)
    x, grad = (torch.randn(3, 2, 5, 5, generator=random, dtype=torch.float64) for _ in range(2))
    bits = torch.tensor([2.0, 4.0, 7.0], dtype=torch.float64).view(3, 1, 1, 1)
    bounds = [torch.tensor(b, dtype=torch.float64, requires_grad=True) for b in (-1.1, 0.9)]
    varied = fake_quantize_bits(x, *bounds, bits)
    plain = torch.cat([fake_quantize(x[i : i + 1], *bounds, 2 ** int(b)) for i, b in enumerate(bits)])
    assert torch.equal(varied, plain)
    for ours, theirs in zip(*(torch.autograd.grad(y, bounds, grad) for y in (varied, plain)), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_gradient_in_bits():
    """GBA's spot case."""
    spot = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (1.4, 0.0, 3.0, 2.0)]
    fake_quantize_bits(*spot).backward()
    assert spot[3].grad.item() == pytest.approx(0.36968, abs=1e-5)


@settings(deadline=None)
@given(bits, seeds)
def test_gradients_with_bits_as_a_tensor_are_the_closed_forms(bits, seed):
    generator = torch.Generator().manual_seed(seed)
    x, arriving = (2 * torch.randn(4, 50, generator=generator, dtype=torch.float64) for _ in range(2))
    lower, upper = (sign * (1 + torch.rand((), generator=generator, dtype=torch.float64)) for sign in (-1, 1))
    tensors = [t.clone().requires_grad_() for t in (x, lower, upper, torch.full((4, 1), bits, dtype=torch.float64))]
    points = fake_quantize_bits(*tensors)
    points.backward(arriving)
    inside = (x >= lower) & (x <= upper)
    to_bits = -(points.detach() - x) * inside * math.log(2) * 2**bits / (2**bits - 1)
    for tensor, form in zip(tensors, (*closed_forms(x, lower, upper, 2**bits), to_bits), strict=True):
        torch.testing.assert_close(tensor.grad, (arriving * form).sum_to_size(tensor.shape), rtol=0, atol=1e-11)


@pytest.mark.parametrize("shape", [(70000,), (2, 3, 140, 160), (2, 160, 3, 140)], ids=["one", "pieces", "strided"])
def test_large_tensors_are_treated_like_small_ones(shape):
    x = torch.randn(shape)
    x = x.transpose(1, 2) if shape[-1] == 140 else x
    x, lower, upper = (t.requires_grad_() for t in (x, torch.tensor(-1.2), torch.tensor(0.9)))
    points = fake_quantize(x, lower, upper, 8)
    grads = torch.autograd.grad(points, (x, lower, upper), torch.cos(x.detach()))
    columns = torch.tensor([-1.2]), torch.tensor([0.9])  # bounds with an axis go another way
    expected = fake_quantize(x, *(c.requires_grad_() for c in columns), 8)
    expected_grads = torch.autograd.grad(expected, (x, *columns), torch.cos(x.detach()))
    assert torch.equal(points, expected)
    assert torch.equal(grads[0], expected_grads[0])
    for grad, wanted in zip(grads[1:], expected_grads[1:], strict=True):
        torch.testing.assert_close(grad, wanted.squeeze(), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("shape", [(), (1,)], ids=["one pair of bounds", "an axis of bounds"])
def test_values_on_the_bounds_are_inside(shape):
    x = torch.tensor([-1.0, 1.0], requires_grad=True)
    lower, upper = (torch.full(shape, bound, requires_grad=True) for bound in (-1.0, 1.0))
    fake_quantize(x, lower, upper, 4).sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]
    assert (float(lower.grad), float(upper.grad)) == (0.0, 0.0)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_points_lie_in_memory_as_the_values_do(layout):
    x = torch.randn(2, 3, 4, 5).contiguous(memory_format=layout)
    assert fake_quantize(x, torch.tensor(-1.0), torch.tensor(1.0), 4).is_contiguous(memory_format=layout)


def test_gradients_without_waiting_are_those_of_the_cpu(monkeypatch):
    """CUDA's way, here on the CPU: sums in float32 instead of float64, so the last digits differ."""
    x = torch.randn(50, 7, generator=torch.Generator().manual_seed(0))
    found = []
    for devices in ((), ("cpu",)):
        monkeypatch.setattr(uniform, "ASYNCHRONOUS", devices)
        values, lower, upper = (t.clone().requires_grad_() for t in (x, torch.tensor(-0.8), torch.tensor(1.1)))
        (uniform.fake_quantize(values, lower, upper, 8) * x.cos()).sum().backward()
        found.append((values.grad, lower.grad, upper.grad))
    torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=1e-6)
    assert all(bool(gradient.any()) for gradient in found[0])
