"""Candidates from a table of edge scores."""

import pytest
import torch

from srquant.methods.cabm.table_quantizer import MappedQuantizer, TableQuantizer
from srquant.quantizers.by_picture import Scene, Stage


def test_a_table_has_an_entry():
    assert TableQuantizer((4, 8), 1).settings() == {"candidates": [4, 8], "entries": 1}
    with pytest.raises(ValueError, match="0 entries"):
        TableQuantizer((4, 8), 0)


def test_entries_beyond_the_candidates_take_the_last():
    quantizer = TableQuantizer((4, 8), 1)
    quantizer.by_edge.fill_(9)
    quantizer.stage = Stage(Scene(torch.rand(1, 3, 4, 4)))
    assert quantizer.flags(torch.zeros(2, 5)).tolist() == [1, 1]


def test_a_table_of_one_entry_is_a_table():
    quantizer = MappedQuantizer((4, 8), 5, 1, 1000.0, capacity=3)
    assert not quantizer.mapped
    quantizer.map_to(torch.tensor([120]), torch.tensor([1]))
    assert quantizer.mapped
    table = quantizer.table()
    assert (table.edges.tolist(), table.by_edge.tolist()) == ([120], [1])
