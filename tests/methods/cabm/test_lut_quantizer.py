"""Candidates from the edge-to-bit LUT."""

import pytest
import torch

from srquant.methods.cabm.lut_quantizer import BitMappingQuantizer, LUTQuantizer
from srquant.quantizers.by_picture import CurrentPictures, Pictures


def test_a_lut_has_an_entry():
    assert LUTQuantizer((4, 8), 1).settings() == {"candidates": [4, 8], "entries": 1}
    with pytest.raises(ValueError, match="entries is 0"):
        LUTQuantizer((4, 8), 0)


def test_entries_beyond_the_candidates_take_the_last():
    quantizer = LUTQuantizer((4, 8), 1)
    quantizer.by_edge.fill_(9)
    quantizer.current = CurrentPictures(Pictures(torch.rand(1, 3, 4, 4)))
    assert quantizer.choose(torch.zeros(2, 5)).tolist() == [1, 1]


def test_a_lut_of_one_entry_is_a_lut():
    quantizer = BitMappingQuantizer((4, 8), 5, 1, 1000.0, capacity=3)
    assert not quantizer.has_lut
    quantizer.set_lut(torch.tensor([120]), torch.tensor([1]))
    assert quantizer.has_lut
    lut = quantizer.deployable()
    assert (lut.edges.tolist(), lut.by_edge.tolist()) == ([120], [1])
