import pytest
import torch
from torch.nn import functional as F

from srquant.models.blocks.channel_steps import Correlation, MergeChannels, SplitChannels, UnitRows


def test_channels_of_a_head_are_neighbours():
    x = torch.rand(2, 3, 5, 6)
    split = SplitChannels(2)(x)
    assert split.shape == (2, 2, 3, 15)
    assert torch.equal(split[1, 1, 0], x[1, :, :, 3].flatten())
    assert torch.equal(MergeChannels()(split, x), x)


@pytest.mark.parametrize("pixels", [4, 1000])
def test_scores_are_those_of_rows_of_length_one(pixels):
    q, k = torch.randn(2, 3, 4, pixels) * 7 + 1, torch.randn(2, 3, 4, pixels) / 9
    unit = UnitRows()
    scores = Correlation()(unit(q) @ unit(k).transpose(-2, -1), unit(q))
    expected = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1)
    assert (scores - expected).abs().max() < 1e-6
    assert torch.allclose(unit(q).square().mean(-1), torch.ones(2, 3, 4))


def test_a_black_row_stays_black():
    assert UnitRows()(torch.zeros(1, 2, 5)).eq(0).all()
