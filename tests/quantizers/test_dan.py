"""Dynamic activation range normalisation."""

import pytest
import torch

from srquant.errors import QuantizedFileError
from srquant.grids.range_rules import minmax, symmetric_mse
from srquant.insertion.collect_ranges import Collection, activation_bounds
from srquant.insertion.insert_quantizers import insert_quantizers
from srquant.insertion.plan import resolve
from srquant.insertion.policy import Policy
from srquant.insertion.settle_on_lattice import settle
from srquant.models.load import build
from srquant.quantizers.dan import DANQuantizer, DANSpec, channel_range, normalise, restore
from srquant.quantizers.layers import quant_layers
from srquant.quantizers.stored import Fields, StoredTensors

SHAPES = pytest.mark.parametrize(("shape", "axis"), [((2, 3, 5, 7), 1), ((2, 11, 3), -1), ((2, 4, 5, 3), -1)])


@SHAPES
def test_normalising_and_back_is_the_identity(shape: tuple[int, ...], axis: int):
    x = 100 * torch.randn(shape) + 30
    smallest, width = channel_range(x, axis)
    normalised = normalise(x, smallest, width)
    assert normalised.min() == -1
    assert normalised.max() == pytest.approx(1, abs=1e-6)
    assert torch.allclose(restore(normalised, smallest, width), x, rtol=1e-5, atol=1e-5 * float(width.max()))


@SHAPES
def test_ranges_are_per_sample_and_channel(shape: tuple[int, ...], axis: int):
    x = torch.randn(shape)
    smallest, width = channel_range(x, axis)
    last = x[1].select(axis - 1 if axis > 0 else axis, 2)
    assert smallest[1].flatten()[2] == last.min()
    assert width[1].flatten()[2] == last.max() - last.min()
    assert smallest.numel() == shape[0] * shape[axis]


@SHAPES
def test_error_is_half_a_step_of_the_channel(shape: tuple[int, ...], axis: int):
    x = torch.randn(shape) * torch.logspace(-2, 3, 3).reshape(
        [-1 if n == axis % len(shape) else 1 for n in range(len(shape))]
    )
    _, width = channel_range(x, axis)
    error = (DANQuantizer(8, axis)(x) - x).abs()
    assert bool((error <= width / (2 * 255) * (1 + 1e-4)).all())
    assert bool((error > width / (4 * 255)).any())


def test_constant_channels_pass_unchanged_whatever_the_bounds():
    x = torch.randn(2, 3, 4, 4)
    x[0, 1], x[1, 2] = 0.0, -17.3
    quantizer = DANQuantizer(4, 1)
    quantizer.lower.data.fill_(-0.7)
    points = quantizer(x)
    assert torch.equal(points[0, 1], x[0, 1])
    assert torch.equal(points[1, 2], x[1, 2])
    assert not torch.equal(points[0, 0], x[0, 0])


def test_a_louder_channel_leaves_the_others_as_they_are():
    x = torch.randn(1, 3, 6, 6)
    louder = x.clone()
    louder[:, 1] *= 100
    quantizer = DANQuantizer(4, 1)
    before, after = quantizer(x), quantizer(louder)
    assert torch.equal(before[:, [0, 2]], after[:, [0, 2]])
    assert torch.allclose(100 * before[:, 1], after[:, 1], rtol=1e-5)


def test_gradients_reach_values_and_bounds_but_not_the_ranges():
    """0, 1, 2.5, 4 are -1, -0.5, 0.25, 1: on three steps 0, 0.75, 1.875, 3, rounded by 0, 0.25, 0.125, 0.

    The upper bound's gradient is a third of that per value, and half the width of 4 brings it back.
    """
    x = torch.tensor([0.0, 1.0, 2.5, 4.0]).reshape(1, 1, 1, 4).requires_grad_()
    quantizer = DANQuantizer(2, 1)
    quantizer(x).sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))
    assert quantizer.upper.grad.item() == pytest.approx(2 * (0.25 + 0.125) / 3)
    assert quantizer.lower.grad.item() == pytest.approx(-2 * (0.25 + 0.125) / 3)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_values_beyond_the_bounds_become_the_bounds(layout):
    """Bounds -0.5 and 0.5 of a channel 0..4 are 1 and 3, of a channel 0..8 they are 2 and 6."""
    quantizer = DANQuantizer(2, 1)
    quantizer.lower.data.fill_(-0.5)
    quantizer.upper.data.fill_(0.5)
    x = torch.tensor([[0.0, 4.0, 1.0, 3.0], [0.0, 8.0, 2.0, 6.0]]).view(1, 2, 2, 2).contiguous(memory_format=layout)
    points = quantizer(x)
    assert points.flatten().tolist() == pytest.approx([1.0, 3.0, 1.0, 3.0, 2.0, 6.0, 2.0, 6.0])


def test_padding_stays_zero_and_out_of_the_range():
    x = torch.rand(1, 2, 3, 4) + 5
    quantizer = DANQuantizer(3, 1)
    points = quantizer.padded(x, (1, 2))
    assert points.shape == (1, 2, 5, 8)
    assert torch.equal(points[..., 1:-1, 2:-2], quantizer(x))
    assert points.count_nonzero() == x.numel()


def test_settling_leaves_dynamic_layers_alone():
    network, policy = build("edsr", {"blocks": 1, "features": 4}), Policy()
    plan = resolve(network, policy)
    bounds = activation_bounds(network, plan, [torch.rand(2, 3, 8, 8)], Collection(minmax, None))
    quantized = insert_quantizers(network, plan, bounds, symmetric_mse)
    layers = list(quant_layers(quantized).values())
    layers[1].input_quantizer = DANQuantizer(4, 1)
    before = [tensor.clone() for tensor in layers[1].state_dict().values()]
    settle(quantized)
    assert layers[1].lattice is None
    assert all(torch.equal(a, b) for a, b in zip(before, layers[1].state_dict().values(), strict=True))
    assert layers[2].lattice is not None


def test_channels_last_gives_the_same_points_and_gradients():
    torch.manual_seed(0)
    quantizer = DANQuantizer(bits=3, channel_axis=1)
    quantizer.lower.data.fill_(-0.8)
    quantizer.upper.data.fill_(0.9)
    given, results = torch.randn(2, 5, 12, 10), []
    x = torch.randn(2, 5, 12, 10) * torch.arange(5).view(1, 5, 1, 1)
    for layout in (torch.contiguous_format, torch.channels_last):
        values = x.clone(memory_format=layout).requires_grad_(True)
        points = quantizer(values)
        results.append((points, *torch.autograd.grad(points, [values, quantizer.lower, quantizer.upper], given)))
    assert torch.equal(results[0][0], results[1][0])
    for contiguous, last in zip(*results, strict=True):
        torch.testing.assert_close(contiguous, last, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bits", [3.0, 4.0])
def test_bits_of_all_pictures_give_what_bits_of_each_give(bits):
    torch.manual_seed(0)
    quantizer = DANQuantizer(bits=4, channel_axis=1)
    quantizer.lower.data.fill_(-0.8)
    given, results = torch.randn(2, 5, 12, 10), []
    x = torch.randn(2, 5, 12, 10) * torch.arange(5).view(1, 5, 1, 1)
    for shape in ((), (1, 1, 1, 1)):
        values, one = x.clone().requires_grad_(), torch.full(shape, bits, requires_grad=True)
        points = quantizer(values, one)
        gradients = torch.autograd.grad(points, [values, quantizer.lower, quantizer.upper, one], given)
        results.append((points, *(gradient.squeeze() if gradient.numel() == 1 else gradient for gradient in gradients)))
    for whole, each in zip(*results, strict=True):
        torch.testing.assert_close(whole, each, rtol=1e-5, atol=3e-5)
    assert results[0][-1].abs() > 0.1


def test_the_spec_and_back_from_a_file():
    quantizer = DANQuantizer(3, 1)
    quantizer.lower.data.fill_(-0.75)
    spec = quantizer.spec()
    assert (spec.kind, spec.static, spec.settings()) == ("dan", False, {"bits": 3})
    assert spec.must_be_positive()["step of the input's grid"].item() == 0.25
    read = DANSpec.read(Fields("input", {"bits": 3}), StoredTensors(spec.tensors()), 5)
    assert (read.bits, read.lower.item(), read.upper.item()) == (3, -0.75, 1.0)
    with pytest.raises(QuantizedFileError, match="only inputs of layers"):
        DANSpec.read(Fields("sum", {"bits": 3}), StoredTensors(spec.tensors()), None)


def test_values_outside_the_limits_are_clipped_before_they_are_normalised():
    quantizer = DANQuantizer(2, 1, torch.tensor([-1.0, 5.0]))
    x = torch.tensor([-100.0, 1.0, 2.9, 100.0]).reshape(1, 1, 1, 4).requires_grad_()
    points = quantizer(x)
    points.sum().backward()
    assert points.flatten().tolist() == pytest.approx([-1.0, 1.0, 3.0, 5.0])
    assert x.grad.flatten().tolist() == [0.0, 1.0, 1.0, 0.0]


def test_the_limits_and_back_from_a_file():
    spec = DANQuantizer(3, 1, torch.tensor([-2.0, 6.0])).spec()
    read = DANSpec.read(Fields("input", {"bits": 3}), StoredTensors(spec.tensors()), 5)
    assert (read.lower.item(), read.upper.item(), read.limits.tolist()) == (-1.0, 1.0, [-2.0, 6.0])
    assert [tensor.item() for tensor in read.must_be_positive().values()] == pytest.approx([2 / 7, 8.0])
