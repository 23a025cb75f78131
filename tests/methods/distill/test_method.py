"""Distill on a tiny network."""

import copy
import csv
import math

import pytest
import torch

from srquant.deploy.file.save_load import load, save
from srquant.deploy.frozen.freeze import freeze
from srquant.distillation.lessons import recorded
from srquant.distillation.loop import Rate, adam
from srquant.errors import CheckpointError
from srquant.insertion.policy import LayerBits, Policy
from srquant.methods.distill.held_out import error
from srquant.methods.distill.learn import Learning
from srquant.methods.distill.method import Distill, held_out_crops, quantize
from srquant.models.load import build
from srquant.training.run_folder import RunFolder

TWO_BITS = Policy(LayerBits(2, 2))
CHANNELS = Policy(LayerBits(2, 2), granularity="channel", activation_granularity="channel")


@pytest.fixture
def edsr():
    return build("edsr", {"blocks": 1, "features": 6}).eval()


@pytest.fixture
def folder(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.begin({}, overwrite=False)
    return run


def error_of(quantized, network, calibration):
    with recorded(network, held_out_crops(calibration)) as held_out:
        return error(quantized.network, held_out)


@pytest.mark.parametrize("policy", [TWO_BITS, CHANNELS])
def test_learning_lowers_the_error(edsr, calibration, policy):
    short, long = (
        quantize(edsr, calibration, policy, Distill(steps=steps, batch=2, learning_rate=0.01)) for steps in (1, 60)
    )
    assert error_of(long, edsr, calibration) < 0.9 * error_of(short, edsr, calibration)


def test_a_rate_that_destroys_the_network_gives_the_start(edsr, calibration):
    start = quantize(edsr, calibration, TWO_BITS, Distill(steps=2, batch=2, learning_rate=1e-12, bound_rate=1e-12))
    wild = quantize(edsr, calibration, TWO_BITS, Distill(steps=2, batch=2, learning_rate=1e3))
    assert error_of(wild, edsr, calibration) == pytest.approx(error_of(start, edsr, calibration), rel=1e-3)


@pytest.mark.parametrize(("factor", "halved"), [(1.4, False), (1.6, True)])
def test_an_error_far_above_the_smallest_brings_the_best_iterate_back(edsr, calibration, factor, halved):
    student = copy.deepcopy(edsr)
    optimizer = adam([Rate(list(student.parameters()), 0.01)])
    with recorded(edsr, held_out_crops(calibration)) as held_out:
        scale_output(student, 1.01)
        learning = Learning(student, optimizer, held_out, {}, math.inf)
        smallest = learning.evaluate()
        student(torch.rand(1, 3, 9, 9)).sum().backward()
        optimizer.step()
        student.load_state_dict(learning.best)
        scale_output(student, (1 + 0.01 * factor) / 1.01)
        assert learning.evaluate() == pytest.approx(factor * smallest, rel=0.02)
    assert learning.pace == (0.5 if halved else 1.0)
    averages = [value for state in optimizer.state.values() for value in state.values()]
    assert any(bool(value.any()) for value in averages) == (not halved)
    same = all(torch.equal(value, learning.best[name]) for name, value in student.state_dict().items())
    assert same == halved


def scale_output(network, factor):
    """Multiply what the last layer gives; the shift of the mean colour behind it makes little difference."""
    with torch.no_grad():
        for parameter in (*network.module.tail[1].parameters(), network.module.add_mean.bias):
            parameter.mul_(factor)


def test_the_float_network_stays_as_it_was(edsr, calibration):
    before = {name: value.clone() for name, value in edsr.state_dict().items()}
    quantize(edsr, calibration, TWO_BITS, Distill(steps=2, batch=2))
    assert all(torch.equal(value, before[name]) for name, value in edsr.state_dict().items())
    assert all(parameter.grad is None for parameter in edsr.parameters())


def test_ranges_are_static_and_grids_have_no_more_points_than_their_bits(edsr, calibration):
    frozen = freeze(quantize(edsr, calibration, TWO_BITS, Distill(steps=3, batch=2)))
    for name, record in frozen.network.module.named_modules():
        spec = getattr(record, "spec", None)
        if name.startswith("body") and spec is not None:
            assert spec.weight.codes.unique().numel() <= 4
            assert spec.grid.levels == 4


class Killed(Exception):
    pass


@pytest.mark.parametrize("last", [1, 7, 20])
def test_a_stopped_run_continues_to_the_same_file(edsr, calibration, tmp_path, folder, last):
    config = Distill(steps=20, batch=2)

    def kill(_stage, done, _total):
        if done == last:
            raise Killed

    with pytest.raises(Killed):
        quantize(edsr, calibration, TWO_BITS, config, kill, folder)
    for name, run in (("whole", None), ("continued", folder)):
        save(freeze(quantize(edsr, calibration, TWO_BITS, config, None, run)), tmp_path / name)
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "continued").read_bytes()
    rows = list(csv.DictReader(folder.metrics.read_text().splitlines()))
    assert [int(row["step"]) for row in rows] == list(range(1, 21))


def test_a_damaged_state_is_refused(edsr, calibration, folder):
    folder.checkpoint.write_bytes(b"no checkpoint")
    with pytest.raises(CheckpointError, match="--overwrite"):
        quantize(edsr, calibration, TWO_BITS, Distill(steps=2, batch=2), None, folder)


def test_a_state_of_another_network_is_refused(edsr, calibration, folder):
    def kill(_stage, done, _total):
        raise Killed

    with pytest.raises(Killed):
        quantize(edsr, calibration, TWO_BITS, Distill(steps=20, batch=2), kill, folder)
    content = torch.load(folder.checkpoint, weights_only=True)
    name = next(name for name in content["student"] if name.endswith("weight"))
    content["student"][name] = content["student"][name][:1]
    torch.save(content, folder.checkpoint)
    with pytest.raises(CheckpointError, match=r"can't continue from .*checkpoint\.pt .*--overwrite"):
        quantize(edsr, calibration, TWO_BITS, Distill(steps=20, batch=2), None, folder)


def test_curve_has_finite_numbers(edsr, calibration, folder):
    quantize(edsr, calibration, TWO_BITS, Distill(steps=5, batch=2), None, folder)
    rows = list(csv.DictReader(folder.metrics.read_text().splitlines()))
    assert all(0 < float(row["held_out_loss"]) < 1 and float(row["loss"]) > 0 for row in rows)


@pytest.mark.parametrize("policy", [Policy(LayerBits(4, 4)), CHANNELS])
def test_the_result_is_as_good_as_its_best_iterate(edsr, calibration, folder, policy):
    quantized = quantize(edsr, calibration, policy, Distill(steps=40, batch=2, learning_rate=0.006), None, folder)
    rows = list(csv.DictReader(folder.metrics.read_text().splitlines()))
    best = min(float(row["held_out_loss"]) for row in rows)
    assert error_of(quantized, edsr, calibration) < 1.02 * best


def test_learned_network_survives_its_file(edsr, calibration, tmp_path):
    quantized = quantize(edsr, calibration, CHANNELS, Distill(steps=3, batch=2))
    save(freeze(quantized), tmp_path / "model.safetensors")
    images = torch.rand(1, 3, 12, 13)
    assert torch.equal(load(tmp_path / "model.safetensors").network(images), quantized.network(images))
