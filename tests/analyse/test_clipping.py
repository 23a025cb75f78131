import numpy as np
import pytest
import torch

from srquant.analyse.clipping import clipping_files, measure_clipping
from srquant.errors import PolicyError
from srquant.measure.quality.validation import upscaled


@pytest.fixture
def low():
    return np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)


def test_the_more_is_clipped_the_further_from_the_float_picture(teacher, low):
    none, little, much = measure_clipping(teacher, low, [0, 0.02, 0.5])
    assert np.isinf(none.psnr_y)
    assert np.array_equal(none.picture, upscaled(teacher, low))
    assert none.psnr_rgb > little.psnr_rgb > much.psnr_rgb


def test_the_network_clips_nothing_afterwards(teacher, low):
    before = upscaled(teacher, low)
    measure_clipping(teacher, low, [0.5])
    assert np.array_equal(upscaled(teacher, low), before)


def test_half_of_the_share_is_cut_on_each_side(teacher, low):
    """Without a rounding network behind it: the head's input is the picture itself."""
    seen = []
    head = teacher.module.get_submodule("head.0")
    with head.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0])):
        measure_clipping(teacher, low, [0.2])
    whole, clipped = seen[0].flatten(), seen[-1].flatten()
    limits = whole.quantile(torch.tensor([0.1, 0.9]))
    assert (float(clipped.min()), float(clipped.max())) == pytest.approx(tuple(limits.tolist()), rel=1e-5)


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_impossible_shares(teacher, low, share):
    with pytest.raises(PolicyError, match=f"{share}"):
        measure_clipping(teacher, low, [0.1, share])


def test_files(teacher, low):
    table, sheet = clipping_files(measure_clipping(teacher, low, [0, 0.5])).values()
    header, first, second = table.decode().splitlines()
    assert header == "share,psnr_y,psnr_rgb"
    assert first == "0,,"
    assert second.startswith("0.5,")
    assert sheet.startswith(b"\x89PNG")
