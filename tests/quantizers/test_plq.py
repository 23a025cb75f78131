"""The piecewise linear grid against the paper's equation, by hand and region by region."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from srquant.errors import PolicyError, QuantizedFileError
from srquant.grids.uniform import fake_quantize
from srquant.quantizers.plq import PLQSpec, PLQuantizer, fake_quantize_pieces, region_levels
from srquant.quantizers.stored import Fields, StoredTensors

TWO_SIDED = (-8.0, 2.0, 8.0)
SKEWED = (-3.3, 0.7, 11.9)
ONE_SIDED = (0.0, 2.0, 8.0)
SHORT_TAIL = (-0.4, 2.0, 8.0)
ranges = pytest.mark.parametrize(
    "bounds", [TWO_SIDED, SKEWED, ONE_SIDED, SHORT_TAIL], ids=["two-sided", "skewed", "one-sided", "short tail"]
)
bits_from_3_to_7 = pytest.mark.parametrize("bits", range(3, 8))


def quantizer(bounds, bits=4, budget="paper"):
    lower, breakpoint, upper = map(torch.tensor, bounds)
    return PLQuantizer(lower, breakpoint, upper, bits, budget)


def ramp(bounds, beyond=0.0):
    return torch.linspace(bounds[0] - beyond, bounds[2] + beyond, 20001)


def region_steps(edges: Tensor, levels: tuple[int, ...]) -> Tensor:
    return edges.diff() / (torch.tensor(levels) - 1)


@torch.no_grad()
def test_numbers_of_the_paper_by_hand():
    points = quantizer(TWO_SIDED)(torch.tensor([1.0, 5.0, -20.0, 20.0, -0.1]))
    expected = [-2 + 5 * 4 / 7, 6.0, -8.0, 8.0, -2 + 3 * 4 / 7]
    torch.testing.assert_close(points, torch.tensor(expected))


@ranges
@bits_from_3_to_7
@torch.no_grad()
def test_no_more_points_than_the_budget(bounds, bits):
    paper, code = (quantizer(bounds, bits, budget) for budget in ("paper", "code"))
    x = ramp(bounds, beyond=1.0)
    shared_ends = len(paper.region_levels) - 1
    assert sum(paper.region_levels) == 2**bits
    assert sum(code.region_levels) == 2 ** (bits + 1)
    assert len(paper(x).unique()) == 2**bits - shared_ends
    assert len(code(x).unique()) == 2 ** (bits + 1) - shared_ends


@ranges
@torch.no_grad()
def test_settled_points_are_no_more_and_lie_on_the_grid_of_256(bounds):
    q = quantizer(bounds)
    free = q(x := ramp(bounds))
    q.settle(2.0**-18)
    settled = q(x)
    assert len(settled.unique()) <= 16
    position = (settled - q.lower) / q.step()
    assert torch.equal(position, position.round())
    near_a_border = fake_quantize_pieces(x + 1e-3, q.edges(), q.region_levels) != fake_quantize_pieces(
        x - 1e-3, q.edges(), q.region_levels
    )
    assert (settled - free)[~near_a_border].abs().max() <= 0.51 * q.step() + 1e-3


@ranges
@bits_from_3_to_7
@torch.no_grad()
def test_ends_are_points_and_errors_half_a_step(bounds, bits):
    q = quantizer(bounds, bits)
    edges = q.edges()
    torch.testing.assert_close(q(edges), edges)
    for (start, end), step in zip(pairwise(edges), region_steps(edges, q.region_levels), strict=True):
        x = torch.linspace(float(start), float(end), 5001)
        assert (q(x) - x).abs().max() <= step / 2 * (1 + 1e-4)


def test_without_outliers_it_is_the_dense_uniform_grid():
    x = torch.randn(4000).clamp(-1, 1)
    edges = torch.tensor([-1.0, -1.0 + 1e-6, 1.0 - 1e-6, 1.0])
    uniform = fake_quantize(x, torch.tensor(-1.0), torch.tensor(1.0), 8)
    torch.testing.assert_close(fake_quantize_pieces(x, edges, (4, 8, 4)), uniform, rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("bits", range(3, 8))
def test_a_breakpoint_at_the_end_leaves_the_dense_region(bits):
    x = torch.randn(4000).clamp(-1, 1)
    lower, upper = torch.tensor(-1.0), torch.tensor(1.0)
    uniform = fake_quantize(x, lower, upper, 2 ** (bits - 1))
    torch.testing.assert_close(PLQuantizer(lower, upper, upper, bits)(x), uniform, rtol=0, atol=1e-5)


@torch.no_grad()
def test_better_than_uniform_on_heavy_tails():
    x = torch.distributions.Laplace(0.0, 1.0).sample((100_000,))
    x[::100] *= 10
    q = PLQuantizer(x.min(), x.quantile(0.99), x.max(), 4)
    uniform = fake_quantize(x, x.min(), x.max(), 16)
    assert (q(x) - x).square().mean() < 0.5 * (uniform - x).square().mean()


def by_regions(x: Tensor, edges: Tensor, levels: tuple[int, ...]) -> Tensor:
    """The same grid as a sum of uniform ones, with their gradients."""
    total = fake_quantize(x, edges[0], edges[1], levels[0])
    for start, end, count in zip(edges[1:-1], edges[2:], levels[1:], strict=True):
        total = total + fake_quantize(x, start, end, count) - start
    return total


@pytest.mark.parametrize(("edges", "levels"), [([-8.0, -2.0, 2.0, 7.0], (4, 8, 4)), ([0.0, 1.5, 9.0], (8, 8))])
def test_gradients_are_those_of_the_regions(edges, levels):
    x = 4 * torch.randn(5000, dtype=torch.float64)
    weight = torch.randn(5000, dtype=torch.float64)
    results = []
    for function in (fake_quantize_pieces, by_regions):
        inputs = x.clone().requires_grad_(), torch.tensor(edges, dtype=torch.float64, requires_grad=True)
        points = function(*inputs, levels)
        (points * weight).sum().backward()
        results.append((points.detach(), *(tensor.grad for tensor in inputs)))
    for ours, reference in zip(*results, strict=True):
        torch.testing.assert_close(ours, reference)


def test_breakpoint_is_pulled_from_both_sides():
    q = quantizer(TWO_SIDED)
    q(torch.tensor([-20.0, 20.0, 30.0])).sum().backward()
    assert (q.lower.grad, q.upper.grad, q.breakpoint.grad) == (1.0, 2.0, 0.0)
    q.zero_grad()
    x, k = torch.tensor([1.9, -1.2]), torch.tensor([7.0, 1.0])
    q(x).sum().backward()
    error = k - (x + 2) * 7 / 4
    assert q.breakpoint.grad.item() == pytest.approx(float(2 * error.sum() / 7), rel=1e-4)


def test_one_sided_has_one_tail():
    assert quantizer(ONE_SIDED).region_levels == (8, 8)
    assert quantizer(SHORT_TAIL).region_levels == (8, 8)
    assert quantizer(TWO_SIDED).region_levels == (4, 8, 4)


@pytest.mark.parametrize("breakpoint", [-1.0, 0.0, 5.0], ids=["negative", "zero", "beyond"])
@pytest.mark.parametrize("lower", [-3.0, 0.0, 0.5])
def test_breakpoints_outside_are_moved_inside(lower, breakpoint):
    q = quantizer((lower, breakpoint, 4.0))
    assert (q.edges().diff() >= 0.9e-3 * (4.0 - lower)).all()
    assert q.breakpoint > 0


def test_regions_stay_apart():
    q = quantizer(TWO_SIDED)
    with torch.no_grad():
        for parameter, value in ((q.breakpoint, -1.0), (q.upper, -2.0), (q.lower, 5.0)):
            parameter.fill_(value)
    q.keep_apart(torch.tensor(0.1))
    assert (q.edges().diff() >= 0.0999).all()


@ranges
@bits_from_3_to_7
@torch.no_grad()
def test_settled_steps_are_odd_multiples(bounds, bits):
    delta = 2.0**-16
    q = quantizer(bounds, bits)
    free = q.edges()
    q.settle(delta)
    steps = region_steps(q.edges().double(), q.region_levels) / delta
    assert torch.equal(steps % 2, torch.ones_like(steps))
    assert (q.edges() / delta % 1 == 0).all()
    assert q.step().double() / delta % 2 == 1
    assert q.edges()[0] == q.lower
    assert q.edges()[-1] <= q.upper
    assert (q.edges() - free).abs().max() <= 2 ** (bits + 1) * delta
    before = q.edges()
    q.settle(delta)
    assert torch.equal(q.edges(), before)


def test_settling_on_a_coarse_lattice_by_hand():
    """Steps 2/3 and 2 become 1, so edges are 0, 3, 6; the step of the 256 points, 6/255, becomes 1 as well."""
    q = quantizer(ONE_SIDED, bits=3)
    q.settle(1.0)
    assert q.edges().tolist() == [0.0, 3.0, 6.0]
    assert (q.lower.item(), q.upper.item()) == (0.0, 255.0)


@pytest.mark.parametrize("bits", [2, 8])
def test_bits_without_a_piecewise_grid_are_refused(bits):
    with pytest.raises(PolicyError, match=f"{bits} bits.*3 to 7.*plq=false"):
        region_levels(bits, "paper", two_sided=True)


def read(levels, edges, channels=5):
    tensors = {"bounds": torch.tensor([-8.0, 8.0]), "edges": torch.tensor(edges)}
    return PLQSpec.read(Fields("input", {"bits": 4, "region_levels": levels}), StoredTensors(tensors), channels)


def test_the_spec_and_back_from_a_file():
    q = quantizer(TWO_SIDED)
    spec = q.spec()
    q.upper.data.fill_(99.0)
    assert not spec.edges.requires_grad
    assert (spec.kind, spec.settings()) == ("plq", {"bits": 4, "region_levels": [4, 8, 4]})
    assert {name: tensor.tolist() for name, tensor in spec.tensors().items()} == {
        "bounds": [-8.0, 8.0],
        "edges": [-8.0, -2.0, 2.0, 8.0],
    }
    positive = spec.must_be_positive()
    assert positive["width of a region"].tolist() == [6.0, 4.0, 6.0]
    assert positive["step of the input's grid"].item() == pytest.approx(16 / 255)
    found = read([4, 8, 4], [-8.0, -2.0, 2.0, 8.0])
    assert (found.bits, found.lower, found.upper, found.region_levels) == (4, -8.0, 8.0, (4, 8, 4))
    assert torch.equal(found.edges, spec.edges)


@pytest.mark.parametrize(("levels", "regions"), [([128, 128], 2), ([2, 2], 2), ([64, 128, 64], 3)])
def test_the_extremes_of_a_file(levels, regions):
    assert read(levels, [0.0, 1.0, 2.0, 3.0][: regions + 1]).region_levels == tuple(levels)


@pytest.mark.parametrize(
    ("levels", "channels", "message"),
    [
        ([8], 5, "2 or 3 regions of at most 256 points"),
        ([8, 8, 8, 8], 5, "2 or 3 regions"),
        ([128, 129], 5, "2 or 3 regions"),
        ([1, 8], 5, "at least 2"),
        ([8, 8], None, "only inputs of layers"),
    ],
)
def test_impossible_regions_of_a_file_are_refused(levels, channels, message):
    with pytest.raises(QuantizedFileError, match=message):
        read(levels, [0.0] * (len(levels) + 1), channels)
