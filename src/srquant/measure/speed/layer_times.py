"""How long each layer of an exported model takes in its engine."""

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import openvino
from numpy.typing import NDArray

from srquant.deploy.onnx.precision import computes
from srquant.deploy.openvino.float_precision import cpu_options
from srquant.deploy.openvino.precision import running_layers
from srquant.temporary_folders import temporary_folder

Times = dict[str, float]
"""Milliseconds by node."""

KERNEL = "_kernel_time"
"""What ONNX Runtime adds to the name of a node in its record of times."""


@dataclass(frozen=True)
class LayerTimes:
    """Where the time of a model goes.

    Attributes:
        milliseconds: of all nodes together.
        shares: of it, 0 to 1, by layer. What is no layer's, such as shuffles, is missing, and so are layers that the
            engine computes under another name.
    """

    milliseconds: float
    shares: dict[str, float]


def openvino_layer_times(path: Path, height: int, width: int, threads: int, rounds: int) -> LayerTimes:
    """The times of an ``.xml``'s layers; one node may compute several layers, which share its time equally.

    Args:
        path: the model; it must be able to take a picture of this size.
        height: of the picture.
        width: of the picture.
        threads: number of threads.
        rounds: how often it runs; each node counts with its median.
    """
    core = openvino.Core()
    model = core.read_model(path)
    model.reshape([1, 3, height, width])
    options = {"PERF_COUNT": True, "INFERENCE_NUM_THREADS": threads}
    compiled = core.compile_model(model, "CPU", cpu_options() | options)
    request, image = compiled.create_infer_request(), noise(height, width)
    runs = []
    for _ in range(rounds + 1):
        request.infer([image])
        runs.append({node.node_name: 1000 * node.real_time.total_seconds() for node in request.profiling_info})
    nodes = {layer.name: [layer.node] for layer in running_layers(model, compiled)}
    return shared_out(medians(runs[1:]), nodes)


def onnxruntime_layer_times(
    path: Path, layers: Sequence[str], height: int, width: int, threads: int, rounds: int
) -> LayerTimes:
    """The times of an ``.onnx``'s layers; a layer may be several nodes.

    Args:
        path: the model.
        layers: their names.
        height: of the picture.
        width: of the picture.
        threads: number of threads.
        rounds: how often it runs.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.enable_profiling = threads, True
    with temporary_folder() as folder:
        options.profile_file_prefix = str(folder / "profile")
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        for _ in range(rounds + 1):
            session.run(None, {session.get_inputs()[0].name: noise(height, width)})
        events = json.loads(Path(session.end_profiling()).read_text())
    times = medians(runs_of(events)[1:])
    return shared_out(times, {layer: [node for node in times if computes(node, layer)] for layer in layers})


def runs_of(events: Iterable[dict[str, Any]]) -> list[Times]:
    """The times of each run in ONNX Runtime's record of events; every node runs once in each."""
    spent: dict[str, list[float]] = {}
    for event in events:
        if event["name"].endswith(KERNEL):
            spent.setdefault(event["name"].removesuffix(KERNEL), []).append(event["dur"] / 1000)
    return [dict(zip(spent, run, strict=True)) for run in zip(*spent.values(), strict=True)]


def medians(runs: Sequence[Times]) -> Times:
    """The median time of every node."""
    return {node: statistics.median(run[node] for run in runs) for node in runs[0]}


def shared_out(times: Times, nodes: dict[str, list[str]]) -> LayerTimes:
    """Give the time of each node to the layers that it computes, in equal parts; layers without a node get none."""
    total, layers = sum(times.values()), Counter(node for found in nodes.values() for node in found)
    shares = {
        name: sum(times[node] / layers[node] for node in found) / total
        for name, found in nodes.items()
        if found and all(node in times for node in found)
    }
    return LayerTimes(total, shares)


def noise(height: int, width: int) -> NDArray[np.float32]:
    """A picture of random numbers in [0, 1], ``1 x 3 x height x width``."""
    return np.random.default_rng(0).random((1, 3, height, width), np.float32)
