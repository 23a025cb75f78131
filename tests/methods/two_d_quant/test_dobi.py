"""The search for first bounds, on values whose best bounds are known."""

import pytest
import torch

from srquant.methods.two_d_quant.dobi import dobi_by_sign, dobi_one_sided, dobi_two_sided, layers_after_gelu
from srquant.models.load import build


def mostly(value, count=10_000):
    """Zeros and values in equal parts, and a single one."""
    rows = torch.zeros(1, count)
    rows[:, ::2] = value
    rows[0, 0] = 1.0
    return rows


def test_one_sided_by_hand():
    """Two points, 0 and the upper bound, which is best at the one value that is common; in steps of 1/100."""
    assert [float(bound) for bound in dobi_one_sided(mostly(0.25), 2)] == pytest.approx([0.0, 0.25])


def test_two_sided_by_hand():
    """Points -1 and 1 move inwards alike, in steps of 1/100 of the range, to -0.62 and 0.62."""
    rows = mostly(0.62)
    rows[:, 1::2] = -0.62
    rows[0, 1] = -1.0
    assert [float(bound) for bound in dobi_two_sided(rows, 2)] == pytest.approx([-0.62, 0.62])


def test_candidates_are_judged_by_evenly_spaced_values():
    """Of twice as many values as are judged, each third counts: an odd number."""
    rows = torch.full((1, 2**18), 0.6)
    rows[:, ::3] = 0.25
    rows[:, ::6] = 0.0
    rows[0, 1] = 1.0
    assert float(dobi_one_sided(rows, 2)[1]) == pytest.approx(0.25)


def test_of_equally_good_ranges_the_widest():
    assert float(dobi_one_sided(torch.zeros(1, 10), 4)[1]) == pytest.approx(1e-6, rel=1e-5, abs=0)


@pytest.mark.parametrize(("smallest", "rule"), [(0.0, dobi_one_sided), (-0.2, dobi_two_sided)])
def test_only_rows_without_negative_values_have_one_tail(smallest, rule):
    rows = mostly(0.25)
    rows[0, 1] = smallest
    assert dobi_by_sign(rows, 4) == rule(rows, 4)
    assert dobi_one_sided(rows, 4) != dobi_two_sided(rows, 4)


def test_nothing_watches_the_network_afterwards():
    network = build("swinir", {"depths": [2], "heads": 2, "features": 8, "hidden": 16, "window": 4, "scale": 2})
    assert all(name.endswith("fc2") for name in layers_after_gelu(network.eval(), torch.rand(1, 3, 8, 8)))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
