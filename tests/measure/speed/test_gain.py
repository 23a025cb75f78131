"""The line on the times of a quantized network and its float network."""

from dataclasses import replace

import pytest

from srquant.measure.speed import gain
from srquant.measure.speed.gain import Gain, measured_gain, side_for
from srquant.measure.speed.time_models import Measured
from srquant.measure.speed.timing import Timing
from srquant.models.load import build

TIMES = {"float32": 30.0, "bfloat16": 20.0, "int8": 16.0}


@pytest.fixture
def timed(monkeypatch):
    """Times by precision instead of measured ones; the sizes that were asked for."""
    sizes = []

    def time_models(models, height, width, threads, rounds):
        sizes.append((height, width, [m.kind for m in models]))
        assert all(model.path.exists() for model in models)
        return [Measured(m, Timing(TIMES[m.precision], 0, 0), 0) for m in models]

    monkeypatch.setattr(gain, "time_models", time_models)
    return sizes


@pytest.mark.parametrize(("precision", "kind"), [("bfloat16", "openvino-bf16"), ("float32", "openvino")])
def test_the_float_network_runs_as_fast_as_it_can(monkeypatch, timed, precision, kind):
    monkeypatch.setattr(gain, "has_bfloat16", lambda: precision == "bfloat16")
    network = build("edsr", {"blocks": 1, "features": 4}).eval()
    found = measured_gain(network, network, 2)
    assert (found.side, found.floating, found.precision) == (64, TIMES[precision], precision)
    assert timed == [(64, 64, [kind, "openvino"])]


def test_gains_and_losses_are_named():
    assert str(Gain(64, 16.0, 20.0, "bfloat16")).endswith("float 20.0 ms (bfloat16), 1.25 times as fast")
    assert "slower than the float network" in str(Gain(64, 20.1, 20.0, "bfloat16"))


def test_sizes_that_a_network_takes():
    facts = build("edsr", {"blocks": 1, "features": 4}).facts
    assert side_for(facts) == 64
    assert side_for(replace(facts, multiple_of=48)) == 96
    assert side_for(replace(facts, smallest=70, multiple_of=8)) == 72
