"""Auto: what is chosen for which bits."""

import pytest

from srquant.insertion.policy import LayerBits, Policy
from srquant.methods.auto.method import Auto, quantize
from srquant.models.load import build


@pytest.mark.parametrize(
    ("bits", "effort", "chosen"), [(2, "long", "long"), (6, "normal", "normal"), (7, "long", "quick")]
)
def test_many_bits_learn_for_a_short_time(bits, effort, chosen):
    assert Auto(effort).learning(Policy(LayerBits(bits, bits))).effort == chosen


def test_the_file_says_what_was_done(calibration):
    network = build("edsr", {"blocks": 1, "features": 4}).eval()
    origin = quantize(network, calibration, Policy(LayerBits(8, 8)), Auto()).origin
    assert (origin.method, origin.options["effort"]) == ("distill", "quick")
