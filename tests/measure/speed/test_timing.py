"""Programs are timed in turns, each in a process of its own."""

import time

import pytest
import torch
from torch import nn

from srquant.errors import EngineError
from srquant.measure.speed.time_models import ExportedModel, time_models
from srquant.measure.speed.timing import interleave, stopwatch


def test_runs_take_turns():
    order = []
    runs = {name: lambda name=name: order.append(name) or float(len(order)) for name in "ab"}
    timings = interleave(runs, rounds=3)
    assert order == ["a", "b", "a", "b", "a", "b"]
    assert (timings["a"].median_ms, timings["a"].min_ms, timings["a"].max_ms) == (3, 1, 5)
    assert (timings["b"].median_ms, timings["b"].min_ms, timings["b"].max_ms) == (4, 2, 6)


def test_a_model_that_cannot_run_says_why(tmp_path):
    with pytest.raises(EngineError, match=r"mine float32 can't run: .*missing\.onnx"):
        time_models([ExportedModel("mine", "float32", "onnxruntime", tmp_path / "missing.onnx")], 8, 8, 1, 1)


def test_stopwatch_counts_milliseconds():
    assert 20 <= stopwatch(lambda: time.sleep(0.02))() < 1000


def test_processes_answer(tmp_path):
    torch.save(nn.Upsample(scale_factor=2), tmp_path / "up.pt")
    done = []
    model = ExportedModel("mine", "float32", "torch", tmp_path / "up.pt")
    measured = time_models([model], 8, 10, 1, 3, lambda *state: done.append(state))
    assert done == [(1, 3), (2, 3), (3, 3)]
    assert measured[0].model == model
    assert 0 < measured[0].timing.min_ms <= measured[0].timing.median_ms <= measured[0].timing.max_ms
    assert measured[0].peak_memory > 50e6
