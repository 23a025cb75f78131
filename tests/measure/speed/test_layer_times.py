"""Times of nodes become shares of layers."""

import pytest

from srquant.measure.speed.layer_times import medians, runs_of, shared_out


def test_a_node_of_several_layers_is_shared_equally():
    found = shared_out({"a": 3.0, "b": 4.0, "shuffle": 1.0}, {"q": ["a"], "k": ["b"], "v": ["b"], "w": [], "x": ["?"]})
    assert found.milliseconds == 8
    assert found.shares == pytest.approx({"q": 3 / 8, "k": 2 / 8, "v": 2 / 8})


def test_a_layer_of_several_nodes_has_their_sum():
    assert shared_out({"a": 3.0, "b": 1.0}, {"q": ["a", "b"]}).shares == {"q": 1.0}


def test_nodes_count_with_their_median():
    assert medians([{"a": 1.0, "b": 9.0}, {"a": 2.0, "b": 1.0}, {"a": 7.0, "b": 2.0}]) == {"a": 2.0, "b": 2.0}


def test_events_of_onnx_runtime_are_told_apart_by_run():
    names = ("model_run", "conv_kernel_time", "add_kernel_time") * 2
    events = [{"name": name, "dur": 1000 * number} for number, name in enumerate(names)]
    assert runs_of(events) == [{"conv": 1.0, "add": 2.0}, {"conv": 4.0, "add": 5.0}]
