import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from srquant.quantizers.integer_weight import pack, packed_size, unpack


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
