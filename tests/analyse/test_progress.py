import pytest
import torch

from srquant.analyse.progress import Curve, Point, Run, Watcher, progress_files, watch_method
from srquant.data.calibration import CalibrationSet
from srquant.insertion.policy import LayerBits, Policy
from srquant.methods.options import configure
from srquant.methods.registry import METHODS


def run_of(name, *settings):
    method = METHODS[name]
    policy = Policy(LayerBits(4, 4), granularity=method.granularity, activation_granularity=method.granularity)
    return Run(name, method, configure(method.config, settings), policy)


@pytest.fixture(scope="module")
def crops(smooth_pictures):
    return CalibrationSet(smooth_pictures(4, 16, 16), 4, 0, 12)


def size(network):
    """Stands for a PSNR: changes with the bounds."""
    return float(sum(parameter.detach().double().abs().sum() for parameter in network.parameters()))


def watched(teacher, crops, run, every=100):
    return watch_method(teacher, crops, run, size, every, lambda stage, done, total: None)


@pytest.mark.parametrize(
    ("run", "stages", "steps"),
    [
        (run_of("mse", "finetune=published"), [f"pass {i}/10" for i in range(1, 11)], 2),
        (run_of("gba", "mixed=both"), ["bounds, pass 1/2", "bounds, pass 2/2"], 2),
        (run_of("outlier-aware", "epochs=3"), ["epoch 1/3", "epoch 2/3", "epoch 3/3"], 2),
        (run_of("adabm", "epochs=3"), ["pass 1/3 weights", "pass 2/3 activations", "pass 3/3 bits"], 2),
    ],
    ids=lambda value: value.label if isinstance(value, Run) else None,
)
def test_points_are_those_of_the_network_that_is_kept(teacher, crops, run, stages, steps):
    points = watched(teacher, crops, run).points
    assert [point.stage for point in points] == ["start", *stages]
    assert [point.steps for point in points] == [steps * i for i in range(len(stages) + 1)]
    assert len({point.psnr for point in points}) > 2


def test_watching_changes_nothing(teacher, crops):
    run = run_of("adabm", "epochs=4")
    plain = run.method.quantize(teacher, crops, run.policy, run.config).network
    results = []

    def measure(network):
        results.append(network)
        with torch.no_grad():
            return float(network(torch.rand(1, 3, 12, 12)).mean())

    watch_method(teacher, crops, run, measure, 1, lambda stage, done, total: None)
    seen, wanted = results[-1].state_dict(), plain.state_dict()
    assert seen.keys() == wanted.keys()
    assert all(torch.equal(seen[name], wanted[name]) for name in wanted)


def test_measured_every_so_many_steps_and_at_the_end_of_a_stage(teacher):
    watcher = Watcher(size, 3, lambda stage, done, total: None)
    watcher.progress("before", 1, 1)
    watcher.see(teacher)
    for done in range(1, 6):
        watcher.progress("a", done, 5)
    watcher.see(teacher)
    watcher.progress("b", 1, 1)
    assert [(point.stage, point.steps) for point in watcher.points] == [("start", 0), ("a", 3), ("a", 5), ("b", 6)]


def test_methods_that_learn_nothing_have_a_result_only(teacher, crops):
    curve = watched(teacher, crops, run_of("minmax"))
    assert curve.points == []
    assert curve.result > 0


def test_files():
    curves = [Curve("a", [Point(0, "start", 20.0), Point(5, "pass", 21.5)], 21.25), Curve("b", [], 19.0)]
    files = progress_files(curves, 30.0)
    assert files["progress.csv"].decode().splitlines() == [
        "method,stage,steps,psnr",
        "a,start,0,20",
        "a,pass,5,21.5",
        "a,result,5,21.25",
        "b,result,0,19",
    ]
    assert b'"float": 30.0' in files["progress.json"]
    assert files["progress.png"].startswith(b"\x89PNG")
