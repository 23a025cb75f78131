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
    symmetric.full_gradient = True
    assert symmetric.learned_bound() is None
    symmetric.full_gradient = False
    symmetric.requires_grad_(False)
    assert symmetric.learned_bound() is None


@pytest.mark.parametrize("narrow", [False, True])
def test_learned_bits_of_the_quantizer_give_its_own_points(narrow):
    x = torch.linspace(-3, 3, 101)
    quantizer = ActivationQuantizer(torch.tensor(-2.0), torch.tensor(2.0), 3, narrow)
    assert torch.allclose(quantizer(x, torch.tensor(3.0)), quantizer(x), atol=1e-6)
    fewer = ActivationQuantizer(torch.tensor(-2.0), torch.tensor(2.0), 2, narrow)
    assert torch.allclose(quantizer(x, torch.tensor(2.0)), fewer(x), atol=1e-6)


def ends(quantizer: ActivationQuantizer | WeightQuantizer) -> tuple[float, float]:
    assert quantizer.lower is not None
    return quantizer.lower.item(), quantizer.upper.item()


MAKERS = {
    "activation": lambda lower, upper: ActivationQuantizer(torch.tensor(lower), torch.tensor(upper), 3),
    "weight": lambda lower, upper: WeightQuantizer(torch.tensor(lower), torch.tensor(upper), 3, symmetric=False),
}
kinds = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


@kinds
def test_width_is_the_distance_of_the_bounds(make):
    width = make(-1.0, 2.0).width()
    assert (width.item(), width.requires_grad) == (3.0, False)


@kinds
@pytest.mark.parametrize(("narrowest", "bounds"), [(0.5, (-1.0, -0.25)), (2.0, (-1.0, 1.0))])
def test_the_upper_bound_keeps_its_distance(make, narrowest, bounds):
    quantizer = make(-1.0, -0.25)
    quantizer.keep_apart(torch.tensor(narrowest))
    assert ends(quantizer) == bounds


@kinds
@pytest.mark.parametrize(("factor", "bounds"), [(2.0, (-1.0, 6.0)), (-2.0, (-6.0, 1.0))])
def test_bounds_are_scaled_and_stay_in_order(make, factor, bounds):
    quantizer = make(-0.5, 3.0)
    quantizer.scale(factor)
    assert ends(quantizer) == bounds


def test_one_bound_serves_both_sides():
    quantizer = WeightQuantizer(torch.tensor(0.0), torch.tensor(1.5), 3, symmetric=True)
    assert (quantizer.width().item(), quantizer.width().requires_grad) == (3.0, False)
    quantizer.scale(-2.0)
    assert quantizer.upper.item() == 3.0
    quantizer.keep_apart(torch.tensor(4.0))
    assert quantizer.upper.item() == 3.0
    quantizer.keep_apart(torch.tensor(8.0))
    assert quantizer.upper.item() == 4.0


@pytest.mark.parametrize(
    ("bounds", "settled"),
    [
        ((-1.0, 2.0), (-1.125, 2.25)),  # step 1 of units of 1/8: 8 lies between 7 and 9; zero is the second point
        ((-0.3, 3.0), (-0.25, 3.125)),  # step 1.1 becomes 9 eighths; no point at zero, so the nearest multiple
        ((0.0, 0.01), (0.0, 0.375)),  # at least one eighth
        ((-1.0005, 1.9995), (-1.125, 2.25)),  # half a thousandth of a step from zero counts as zero
        ((-1.005, 1.995), (-1.0, 2.375)),  # five thousandths don't
    ],
)
def test_settling_by_hand(bounds, settled):
    quantizer = ActivationQuantizer(*map(torch.tensor, bounds), 2)
    quantizer.settle(0.125)
    assert ends(quantizer) == settled


def test_padding_is_quantized():
    quantizer = ActivationQuantizer(torch.tensor(0.5), torch.tensor(2.0), 2)
    points = quantizer.padded(torch.full((1, 1, 1, 1), 1.4), (1, 2))
    assert points.shape == (1, 1, 3, 5)
    assert (points[0, 0, 1, 2].item(), points.sum().item()) == (1.5, 1.5 + 14 * 0.5)


def test_relative_steps_are_over_their_mean():
    """Widths 3 and 6 are 2/3 and 4/3 of their mean."""
    upper = torch.tensor([3.0, 6.0]).view(2, 1, 1)
    quantizer = ActivationQuantizer(torch.zeros(2, 1, 1), upper, 2)
    assert quantizer.relative_step().flatten().tolist() == pytest.approx([2 / 3, 4 / 3])
    assert not quantizer.relative_step().requires_grad
    assert ActivationQuantizer(torch.tensor(0.0), torch.tensor(1.0), 2).relative_step() is None


@pytest.mark.parametrize("shape", [(), (2, 1, 1)])
def test_the_spec_has_copies_of_the_bounds(shape):
    quantizer = ActivationQuantizer(torch.full(shape, -1.0), torch.full(shape, 2.0), 3, narrow=True)
    spec = quantizer.spec()
    quantizer.upper.data.fill_(9.0)
    assert (spec.bits, spec.narrow, spec.levels, spec.static) == (3, True, 7, True)
    assert (spec.lower.shape, spec.upper.shape) == (shape[:1], shape[:1])
    assert bool((spec.lower == -1).all() and (spec.upper == 2).all())
    assert not spec.upper.requires_grad


def test_integer_form_by_hand():
    """-1..2 at 2 bits has a point at zero: step 1, nothing moves. -0.9..2.1 moves by at most a fine step's half."""
    form = WeightQuantizer(torch.tensor(-1.0), torch.tensor(2.0), 2, False).integer_weight(torch.tensor([[0.6], [9.0]]))
    assert (form.codes.tolist(), form.scale.tolist()) == ([[2], [3]], [1.0, 1.0])
    assert (form.multiplier.tolist(), form.shift.tolist()) == ([1, 1], [-1, -1])
    assert (form.multiplier.dtype, form.shift.dtype) == (torch.int16, torch.int16)
    form = WeightQuantizer(torch.tensor(-0.9), torch.tensor(2.1), 2, False).integer_weight(torch.tensor([[0.6]]))
    assert (form.multiplier.tolist(), form.shift.tolist(), form.scale.tolist()) == (
        [60],
        [-54],
        pytest.approx([1 / 60]),
    )


@pytest.mark.parametrize(("offset", "multiplier"), [(5e-5, 1), (2e-4, 63)])
def test_a_grid_that_almost_has_a_zero_is_one_that_has(offset, multiplier):
    quantizer = WeightQuantizer(torch.tensor(-1.0 + offset), torch.tensor(2.0 + offset), 2, False)
    assert quantizer.integer_weight(torch.zeros(1, 1)).multiplier.tolist() == [multiplier]


def test_a_multiplier_fits_if_its_rounded_ends_do():
    """-0.455..2.545 at 2 bits: 50 times that is -22.75..127.25, rounded -23..127; 51 times 2.545 is beyond."""
    form = WeightQuantizer(torch.tensor(-0.455), torch.tensor(2.545), 2, False).integer_weight(torch.zeros(1, 1))
    assert (form.multiplier.tolist(), form.shift.tolist()) == ([50], [-23])


def test_weights_with_learned_bits():
    """Four points -3, -1, 1, 3 at 2 bits; eight, 6/7 apart, at 3."""
    quantizer = WeightQuantizer(torch.tensor(0.0), torch.tensor(3.0), 4, symmetric=True)
    weight = torch.tensor([-9.0, 0.5, 1.7])
    assert quantizer.forward(weight, torch.tensor(2.0)).tolist() == pytest.approx([-3.0, 1.0, 1.0])
    assert quantizer.forward(weight, torch.tensor(3.0)).tolist() == pytest.approx([-3.0, 3 / 7, 9 / 7])


@pytest.mark.parametrize(
    "make",
    [lambda *bounds: ActivationQuantizer(*bounds, 3), lambda *bounds: WeightQuantizer(*bounds, 3, symmetric=False)],
    ids=["activation", "weight"],
)
def test_bounds_are_copied(make):
    lower, upper = torch.tensor(-1.0), torch.tensor(2.0)
    make(lower, upper).scale(2.0)
    assert (lower.item(), upper.item()) == (-1.0, 2.0)


@pytest.mark.parametrize("middle", [False, True])
@pytest.mark.parametrize("bounds", [(-1.0, 3.0), (-3.0, 0.1), (0.2, 3.0)], ids=str)
def test_zero_becomes_a_grid_point(middle, bounds):
    quantizer = ActivationQuantizer(torch.tensor(bounds[0]), torch.tensor(bounds[1]), bits=4)
    quantizer.hold_zero(middle)
    lower, upper, step = (value.item() for value in (*quantizer.fixed_bounds(), quantizer.step().detach()))
    zero = 0 if bounds[0] > 0 else 8 if middle else round(-bounds[0] / (bounds[1] - bounds[0]) * 15)
    assert lower == pytest.approx(-min(zero, 14) * step, abs=1e-6)
    if middle or bounds[0] > 0:
        assert lower <= bounds[0]
        assert upper >= bounds[1] - 1e-6
    else:
        assert upper - lower == pytest.approx(bounds[1] - bounds[0])
