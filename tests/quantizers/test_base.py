"""Weight grids are integer grids; activation grids have their levels."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from srquant.quantizers.base import ActivationQuantizer, WeightQuantizer, weight_levels

FLOAT_ROUNDING = 8 * torch.finfo(torch.float32).eps
bits = st.integers(2, 8)
bounds = st.tuples(st.floats(0.015625, 4, width=32), st.floats(0.015625, 4, width=32))
seeds = st.integers(0, 2**16)


def assert_integer_form(quantizer: WeightQuantizer, weight: torch.Tensor) -> None:
    form = quantizer.integer_weight(weight)
    integers = form.integers().int()
    assert form.codes.dtype == torch.uint8
    assert int(form.codes.max()) < quantizer.levels
    assert int(integers.abs().max()) <= 127
    row = (-1, *[1] * (weight.dim() - 1))
    exact = form.multiplier.view(row).int() * form.codes.int() + form.shift.view(row).int()
    assert torch.equal(integers, exact)
    lower, upper = (bound.detach() for bound in quantizer.grid())
    rounding = FLOAT_ROUNDING * float(torch.maximum(lower.abs(), upper.abs()).max())
    torch.testing.assert_close(form.values().float(), quantizer(weight).detach(), rtol=0, atol=rounding)


@settings(deadline=None)
@given(bits, st.floats(0.015625, 4, width=32), seeds)
def test_symmetric_integer_form(bits, upper, seed):
    weight = 2 * torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(seed))
    quantizer = WeightQuantizer(torch.tensor(0.0), torch.tensor(upper), bits, symmetric=True)
    assert_integer_form(quantizer, weight)
    points = quantizer.integer_weight(weight).integers()
    if bits < 8:
        assert bool((points % 2 != 0).all())  # the grid of the papers has no zero
    else:
        assert not quantizer.integer_weight(torch.zeros(2, 2)).integers().any()


@settings(deadline=None)
@given(bits, bounds, bounds, seeds)
def test_integer_form_with_two_bounds_per_channel(bits, first, second, seed):
    weight = 2 * torch.randn(2, 5, generator=torch.Generator().manual_seed(seed))
    lower = -torch.tensor([[first[0]], [second[0]]])
    upper = torch.tensor([[first[1]], [second[1]]])
    assert_integer_form(WeightQuantizer(lower, upper, bits, symmetric=False), weight)


@settings(deadline=None)
@given(st.integers(2, 7), bounds)
def test_two_bounds_are_shifted_by_at_most_half_a_fine_step(bits, sides):
    lower, upper = -torch.tensor(sides[0]), torch.tensor(sides[1])
    quantizer = WeightQuantizer(lower, upper, bits, symmetric=False)
    multiplier = int(quantizer.integer_weight(torch.zeros(1, 1)).multiplier)
    step = float(upper - lower) / (2**bits - 1)
    moved = [float((b - a).detach()) for a, b in zip((lower, upper), quantizer.grid(), strict=True)]
    assert moved[0] == pytest.approx(moved[1], abs=FLOAT_ROUNDING * 8)
    assert max(map(abs, moved)) <= step / (2 * multiplier) * 1.001 + FLOAT_ROUNDING * 8


@settings(deadline=None)
@given(st.integers(2, 7), bounds)
def test_multiplier_is_the_largest_that_fits(bits, sides):
    lower, upper, last = -sides[0], sides[1], 2**bits - 1
    quantizer = WeightQuantizer(torch.tensor(lower), torch.tensor(upper), bits, symmetric=False)
    form = quantizer.integer_weight(torch.zeros(1, 1))
    multiplier, shift = int(form.multiplier), int(form.shift)
    assert -127 <= shift <= shift + multiplier * last <= 127
    position = (lower / (upper - lower)) * last
    larger = [m for m in range(multiplier + 1, 128) if m * position > -126.5 and m * (last + position) < 126.5]
    assert larger == []


def test_integer_form_is_found_once():
    """Seen from the moved grid, a larger multiplier would fit, whose grid is another one."""
    lower, upper = torch.tensor(-1.90625), torch.tensor(2.5)
    assert_integer_form(WeightQuantizer(lower, upper, 4, symmetric=False), torch.randn(2, 5))


def test_eight_bits_with_two_bounds_use_the_wider_one():
    quantizer = WeightQuantizer(torch.tensor(-0.5), torch.tensor(1.0), 8, symmetric=False)
    assert [b.item() for b in quantizer.grid()] == [-1.0, 1.0]
    weight = torch.tensor([[-1.0, 0.0, 0.6, 1.0]])
    assert quantizer.integer_weight(weight).integers().tolist() == [[-127, 0, 76, 127]]


def test_two_bit_grid_by_hand():
    quantizer = WeightQuantizer(torch.tensor(0.0), torch.tensor(3.0), 2, symmetric=True)
    assert quantizer(torch.tensor([-9.0, -1.5, 0.5, 2.5])).tolist() == [-3.0, -1.0, 1.0, 3.0]


@pytest.mark.parametrize("symmetric", [True, False], ids=["symmetric", "two bounds"])
@pytest.mark.parametrize("bits", [2, 4, 7, 8])
def test_bounds_receive_gradients(bits, symmetric):
    quantizer = WeightQuantizer(torch.tensor(-0.4), torch.tensor(0.6), bits, symmetric)
    quantizer(torch.randn(8, 8)).square().sum().backward()
    assert all(float(p.grad.abs()) > 0 for p in quantizer.parameters() if symmetric or bits < 8)
    assert float(quantizer.upper.grad.abs()) > 0


@pytest.mark.parametrize(("bits", "levels"), [(2, 4), (4, 16), (7, 128), (8, 255)])
def test_weight_levels(bits, levels):
    assert weight_levels(bits) == levels


@pytest.mark.parametrize("bits", range(2, 9))
def test_activation_quantizer_uses_all_its_levels(bits):
    quantizer = ActivationQuantizer(torch.tensor(-1.0), torch.tensor(2.0), bits)
    points = quantizer(torch.linspace(-3, 4, 20000)).unique()
    assert points.numel() == quantizer.levels == 2**bits
    torch.testing.assert_close(points.diff(), quantizer.step().expand(2**bits - 1), rtol=1e-3, atol=0)


def test_activation_quantizer_per_channel():
    lower, upper = torch.tensor([0.0, -1.0]).view(2, 1, 1), torch.tensor([3.0, 2.0]).view(2, 1, 1)
    quantizer = ActivationQuantizer(lower, upper, 2)
    x = torch.tensor([[[[1.4]], [[-0.9]]]])
    assert quantizer(x).flatten().tolist() == [1.0, -1.0]
    assert quantizer.relative_step().flatten().tolist() == [1.0, 1.0]


def test_the_learned_bound_is_that_of_a_grid_of_one_bound_and_fixed_bits():
    one, two = torch.tensor(2.0), torch.tensor(-1.0)
    symmetric, asymmetric = WeightQuantizer(-one, one, 4, True), WeightQuantizer(two, one, 4, False)
    assert symmetric.learned_bound() is symmetric.upper
    assert asymmetric.learned_bound() is None
    assert WeightQuantizer(two, one, 8, False).learned_bound().item() == 2.0
    symmetric.bits_are_learned = True
    assert symmetric.learned_bound() is None
    symmetric.bits_are_learned = False
    symmetric.requires_grad_(False)
    assert symmetric.learned_bound() is None


@pytest.mark.parametrize("narrow", [False, True])
def test_learned_bits_of_the_quantizer_give_its_own_points(narrow):
    x = torch.linspace(-3, 3, 101)
    quantizer = ActivationQuantizer(torch.tensor(-2.0), torch.tensor(2.0), 3, narrow)
    assert torch.allclose(quantizer(x, torch.tensor(3.0)), quantizer(x), atol=1e-6)
    fewer = ActivationQuantizer(torch.tensor(-2.0), torch.tensor(2.0), 2, narrow)
    assert torch.allclose(quantizer(x, torch.tensor(2.0)), fewer(x), atol=1e-6)
