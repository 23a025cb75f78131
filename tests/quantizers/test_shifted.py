"""Grids after a shift of each channel, by hand."""

import pytest
import torch

from srquant.errors import QuantizedFileError
from srquant.quantizers.shifted import ShiftedQuantizer, ShiftedSpec
from srquant.quantizers.stored import Fields, StoredTensors


@pytest.fixture
def quantizer():
    """Points -1, -0.5, 0, 0.5; channels are shifted by 0.25 and -0.5."""
    return ShiftedQuantizer(torch.tensor(-1.0), torch.tensor(0.5), 2, torch.tensor([0.25, -0.5]).view(2, 1, 1))


def test_the_shift_is_added_and_stays(quantizer):
    x = torch.tensor([[0.5, -0.4], [0.5, -0.4]]).view(1, 2, 1, 2)
    assert quantizer(x).flatten().tolist() == [0.5, 0.0, 0.0, -1.0]


def test_padding_is_zero_and_not_shifted(quantizer):
    x = torch.full((1, 2, 1, 1), 0.5)
    points = quantizer.padded(x, (1, 2))
    assert points.shape == (1, 2, 3, 5)
    assert points[:, :, 1, 2].flatten().tolist() == [0.5, 0.0]
    assert points.abs().sum().item() == 0.5


@pytest.mark.parametrize(("factor", "bounds"), [(2.0, (-2.0, 1.0)), (-2.0, (-1.0, 2.0))])
def test_bounds_and_shift_are_scaled(quantizer, factor, bounds):
    quantizer.scale(factor)
    assert (quantizer.lower.item(), quantizer.upper.item()) == bounds
    assert quantizer.shift.flatten().tolist() == [0.25 * factor, -0.5 * factor]


def test_settling_moves_bounds_and_shift_to_multiples(quantizer):
    """In units of 1/8 the step 4 becomes 5, the lower bound two steps below zero; 0.7 is 5.6 units, nearly 6."""
    quantizer.shift.data.copy_(torch.tensor([0.7, -0.3]).view(2, 1, 1))
    quantizer.settle(0.125)
    assert (quantizer.lower.item(), quantizer.upper.item()) == (-1.25, 0.625)
    assert quantizer.shift.flatten().tolist() == [0.75, -0.25]


def test_the_spec_has_bounds_and_one_shift_per_channel(quantizer):
    spec = quantizer.spec()
    assert (spec.kind, spec.bits, spec.static, spec.settings()) == ("shifted", 2, True, {"bits": 2})
    tensors = {name: tensor.tolist() for name, tensor in spec.tensors().items()}
    assert tensors == {"bounds": [-1.0, 0.5], "shift": [0.25, -0.5]}
    assert spec.must_be_positive()["step of the input's grid"].item() == 0.5
    assert spec.must_be_finite()["shift of its channels"].tolist() == [0.25, -0.5]


def test_a_spec_from_a_file(quantizer):
    tensors = StoredTensors(quantizer.spec().tensors())
    spec = ShiftedSpec.read(Fields("input", {"bits": 2}), tensors, 2)
    assert (spec.bits, spec.lower.item(), spec.upper.item(), spec.shift.tolist()) == (2, -1.0, 0.5, [0.25, -0.5])
    with pytest.raises(QuantizedFileError, match="only inputs of layers"):
        ShiftedSpec.read(Fields("sum", {"bits": 2}), tensors, None)


def test_shifts_are_copied():
    shift = torch.tensor([0.25, -0.5])
    quantizer = ShiftedQuantizer(torch.tensor(-1.0), torch.tensor(0.5), 2, shift)
    spec = quantizer.spec()
    assert not spec.shift.requires_grad
    quantizer.shift.data.fill_(9.0)
    assert (shift.tolist(), spec.shift.tolist()) == ([0.25, -0.5], [0.25, -0.5])
