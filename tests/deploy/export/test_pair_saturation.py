from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from srquant.deploy.export.pair_saturation import has_vnni, safe_on_pair_saturation


def saturating_dot(codes: np.ndarray, weights: np.ndarray) -> int:
    """u8 x s8 as ``pmaddubsw``: neighbouring products are added with saturation at 16 bits, then summed exactly."""
    products = codes.astype(np.int64) * weights.astype(np.int64)
    pairs = products.reshape(-1, 2).sum(1)
    return int(np.clip(pairs, -32768, 32767).sum())


def test_unsafe_layer_really_saturates():
    weights, codes = np.array([127, 127], np.int8), np.array([255, 255], np.uint8)
    assert not safe_on_pair_saturation(torch.from_numpy(weights)[None], 256)
    assert saturating_dot(codes, weights) == 32767
    assert int(codes.astype(int) @ weights.astype(int)) == 64770


@given(
    st.lists(st.integers(-127, 127), min_size=8, max_size=8),
    st.integers(2, 8),
    st.integers(0, 2**32 - 1),
)
def test_safe_layers_are_exact_in_any_order(weights, bits, seed):
    generator = np.random.default_rng(seed)
    row = np.array(weights, np.int8)
    if safe_on_pair_saturation(torch.from_numpy(row)[None], 2**bits):
        order = generator.permutation(8)
        for codes in (generator.integers(0, 2**bits, 8), np.full(8, 2**bits - 1), (row[order] > 0) * (2**bits - 1)):
            assert saturating_dot(codes, row[order]) == int(codes @ row[order].astype(int))


@pytest.mark.parametrize(
    ("largest", "levels", "safe"),
    [(64, 256, True), (65, 256, False), (127, 128, True), (127, 130, True), (127, 131, False), (127, 16, True)],
)
def test_limits(largest, levels, safe):
    weight = torch.full((4, 3, 3, 3), largest, dtype=torch.int8)
    weight[0] = -largest
    assert safe_on_pair_saturation(weight, levels) is safe


def test_one_large_weight_among_small_ones_is_safe():
    weight = torch.ones(1, 16, 1, 1, dtype=torch.int8)
    weight[0, 3] = 127
    assert safe_on_pair_saturation(weight, 256)


def test_the_answer_about_this_processor_matches_what_the_system_lists():
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists() or "avx2" not in (flags := cpuinfo.read_text()):
        pytest.skip("needs Linux on x86-64")
    assert has_vnni() == ("avx512_vnni" in flags or "avx_vnni" in flags)
