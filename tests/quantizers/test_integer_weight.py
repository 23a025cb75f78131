import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from srquant.errors import QuantizedFileError
from srquant.quantizers.integer_weight import IntegerWeight, pack, packed_size, unpack
from srquant.quantizers.stored import StoredTensors


@given(st.integers(2, 8), st.integers(0, 70), st.integers(0, 2**32 - 1))
def test_unpack_inverts_pack(bits, count, seed):
    codes = torch.from_numpy(np.random.default_rng(seed).integers(0, 1 << bits, count, np.uint8))
    packed = pack(codes, bits)
    assert packed.dtype == torch.uint8
    assert packed.shape == (packed_size(count, bits),)
    assert torch.equal(unpack(packed, bits, (count,)), codes)


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("shape", [(1,), (3, 5), (7, 3, 3, 3)], ids=str)
def test_largest_codes_of_any_shape(bits, shape):
    codes = torch.full(shape, (1 << bits) - 1, dtype=torch.uint8)
    assert torch.equal(unpack(pack(codes, bits), bits, shape), codes)


def test_worked_example():
    assert pack(torch.tensor([1, 2, 7], dtype=torch.uint8), 3).tolist() == [0xD1, 0x01]


@pytest.mark.parametrize(("count", "bits", "size"), [(0, 5, 0), (1, 2, 1), (3, 3, 2), (8, 3, 3), (9, 7, 8), (5, 8, 5)])
def test_size_is_the_bits_rounded_up(count, bits, size):
    assert packed_size(count, bits) == size


def test_same_codes_same_bytes_whatever_the_memory_layout():
    codes = torch.arange(12, dtype=torch.uint8).reshape(3, 4)
    assert torch.equal(pack(codes.T.contiguous().T, 4), pack(codes, 4))


def integer_weight(multiplier=(2, 3), shift=(-3, -4)) -> IntegerWeight:
    """Two rows of 2-bit codes."""
    codes = torch.tensor([[0, 1, 2], [3, 2, 1]], dtype=torch.uint8)
    integers = (torch.tensor(values, dtype=torch.int16) for values in (multiplier, shift))
    return IntegerWeight(codes, torch.tensor([0.5, 0.25]), *integers)


def test_integers_and_values_by_hand():
    weight = integer_weight()
    assert weight.integers().tolist() == [[-3, -1, 1], [5, 2, -1]]
    assert weight.integers().dtype == torch.int8
    assert weight.values().tolist() == [[-1.5, -0.5, 0.5], [1.25, 0.5, -0.25]]
    assert weight.values().dtype == torch.float64


def test_a_grid_that_rows_share_is_stored_once():
    tensors = integer_weight().tensors(2)
    assert tensors["codes"].tolist() == [0b11_10_01_00, 0b01_10]
    assert tensors["weight_grid"].tolist() == [[0.5, 0.25], [2.0, 3.0], [-3.0, -4.0]]
    one = integer_weight()
    shared = IntegerWeight(one.codes, torch.tensor([0.5, 0.5]), one.multiplier[[0, 0]], one.shift[[0, 0]])
    assert shared.tensors(2)["weight_grid"].tolist() == [[0.5], [2.0], [-3.0]]


def read(multiplier, shift, bits=2, codes=(0b11_10_01_00, 0b01_10)):
    grid = torch.tensor([[0.5, 0.25], multiplier, shift])
    tensors = {"layer.codes": torch.tensor(codes, dtype=torch.uint8), "layer.weight_grid": grid}
    return IntegerWeight.read(StoredTensors(tensors, "layer."), (2, 3), bits)


def test_back_from_a_file():
    weight = read([2.0, 3.0], [-3.0, -4.0])
    assert weight.values().tolist() == integer_weight().values().tolist()
    assert (weight.multiplier.dtype, weight.shift.dtype) == (torch.int16, torch.int16)
    tensors = {"codes": torch.tensor([0, 0], dtype=torch.uint8), "weight_grid": torch.tensor([[0.5], [1.0], [-1.0]])}
    assert IntegerWeight.read(StoredTensors(tensors), (2, 3), 2).values().tolist() == [[-0.5] * 3] * 2


def test_the_largest_integers_of_a_file():
    """Shifts from -127; the last of four points at 127: 3 * 1 + 124, 3 * 10 + 97."""
    assert read([1.0, 10.0], [-127.0, 97.0]).shift.tolist() == [-127, 97]
    assert read([1.0, 1.0], [124.0, -127.0]).shift.tolist() == [124, -127]
    assert read([1.0, 1.0], [-127.0, -127.0], 8, (254, 0, 0, 0, 0, 0)).integers().max() == 127


@pytest.mark.parametrize(
    ("multiplier", "shift", "bits", "codes"),
    [
        ([2.0, 2.5], [0.0, 0.0], 2, (0, 0)),
        ([2.0, 2.0], [0.0, 0.5], 2, (0, 0)),
        ([0.0, 1.0], [0.0, 0.0], 2, (0, 0)),
        ([1.0, 1.0], [-128.0, 0.0], 2, (0, 0)),
        ([1.0, 1.0], [0.0, 125.0], 2, (0, 0)),
        ([1.0, 10.0], [0.0, 98.0], 2, (0, 0)),
        ([1.0, 1.0], [-127.0, -127.0], 8, (255, 0, 0, 0, 0, 0)),
    ],
    ids=["multiplier", "shift", "no multiplier", "too low", "too high", "too wide", "code beyond 254"],
)
def test_what_is_no_integer_weight_is_refused(multiplier, shift, bits, codes):
    with pytest.raises(QuantizedFileError, match=r"layer 'layer'.*not integers in ±127"):
        read(multiplier, shift, bits, codes)
