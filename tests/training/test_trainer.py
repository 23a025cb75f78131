"""The loop does what a plain loop does, and between its steps what is due."""

import csv

import pytest
import torch
from lightning_fabric import Fabric

from srquant.data.pairs import PairSet
from srquant.errors import InputError, TrainingError
from srquant.methods.float_training import FloatStudent, FloatTraining
from srquant.models.load import build
from srquant.training.checkpoint import load_state
from srquant.training.prefetch import batches
from srquant.training.run_folder import RunFolder
from srquant.training.run_settings import Run
from srquant.training.trainer import Trainer

RATE = 1e-3


class Probe(FloatStudent):
    """A float student that notes what it is asked, and can be told to spoil a step."""

    def __init__(self, steps, bad_loss=None, bad_weight=None):
        torch.manual_seed(1)
        super().__init__(build("edsr", {"blocks": 1, "features": 4, "scale": 2}), FloatTraining(RATE), steps)
        self.train()
        self.bad_loss, self.bad_weight = bad_loss, bad_weight
        self.asked = []

    def forward(self, low, high, step):
        self.asked.append(("forward", step, self.network.training))
        loss = super().forward(low, high, step)
        return loss * float("nan") if step + 1 == self.bad_loss else loss

    def after_backward(self):
        self.asked.append(("backward", self.network.module.head[0].weight.grad is not None))

    def after_step(self, step):
        self.asked.append(("step", step))
        if step + 1 == self.bad_weight:
            self.network.module.head[0].bias.data[0] = float("inf")

    def logged(self):
        return {"largest": float(self.network.module.head[0].weight.detach().abs().max())}


@pytest.fixture
def pairs(smooth_pictures):
    return PairSet((smooth_pictures(3, 24, 26),), 2, patch=6)


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path)


@pytest.fixture
def trainer(pairs, folder):
    def make(student, validate=None, **run):
        fabric = Fabric(accelerator="cpu", devices=1)
        return Trainer(fabric, student, pairs, Run(**{"steps": 12, "batch": 2} | run), folder, validate)

    return make


def rows(folder):
    with folder.metrics.open() as file:
        return list(csv.DictReader(file))


def plain_loop(pairs, steps):
    """The network after each step."""
    student = Probe(steps)
    optimizer = torch.optim.Adam(student.parameters(), RATE)
    for step, batch in enumerate(batches(pairs, range(steps), 2, 0, 1)):
        optimizer.param_groups[0]["lr"] = RATE * (1 if step < 2 * steps / 3 else 0.5)
        low, high = (side.float().contiguous(memory_format=torch.channels_last) / 255 for side in batch)
        loss = (student.network(low) - high).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss.item(), {name: value.detach().clone() for name, value in student.network.named_parameters()}


def test_a_plain_loop_gives_the_same(trainer, pairs, folder):
    trained = dict(trainer(Probe(12), log_every=1).train().named_parameters())
    expected = list(plain_loop(pairs, 12))
    assert all(torch.equal(trained[name], value) for name, value in expected[-1][1].items())
    assert [float(row["loss"]) for row in rows(folder)] == [loss for loss, _ in expected]
    assert [float(row["learning_rate"]) for row in rows(folder)] == [RATE] * 8 + [RATE / 2] * 4


def test_the_average_is_validated_and_becomes_the_result(trainer, pairs):
    seen = []

    def validate(network):
        seen.append(network.module.head[0].weight.detach().clone())
        return 30.0

    student = Probe(12)
    average = student.network.module.head[0].weight.detach().clone()
    result = trainer(student, validate, ema=0.8, validate_every=4).train()
    averages = []
    for _, values in plain_loop(pairs, 12):
        average = 0.8 * average + 0.2 * values["module.head.0.weight"]
        averages.append(average)
    for measured, step in zip(seen, (4, 8, 12), strict=True):
        torch.testing.assert_close(measured, averages[step - 1], rtol=0, atol=1e-7)
    assert torch.equal(result.module.head[0].weight, seen[-1])


def test_the_student_is_told_of_every_part_of_a_step(trainer):
    student = Probe(3)
    trainer(student, steps=3).train()
    assert student.asked == [part for i in range(3) for part in (("forward", i, True), ("backward", True), ("step", i))]


def test_rows_of_the_log(trainer, folder):
    student = Probe(11)
    trainer(student, lambda network: 31.5, steps=11, log_every=4, validate_every=6, checkpoint_every=5).train()
    found = rows(folder)
    assert [row["step"] for row in found] == ["4", "5", "6", "8", "10", "11"]
    assert [row["psnr"] for row in found] == ["", "", "31.5", "", "", "31.5"]
    assert list(found[0]) == ["step", "loss", "learning_rate", "data_seconds", "step_seconds", "psnr", "largest"]
    assert float(found[-1]["largest"]) == student.logged()["largest"]
    assert all(float(row["data_seconds"]) >= 0 and float(row["step_seconds"]) > 0 for row in found)


def test_validation_sees_evaluation_mode_and_leaves_each_part_in_its_own(trainer):
    student, seen = Probe(4), []
    student.network.module.head.eval()

    def validate(network):
        seen.append((any(part.training for part in network.modules()), torch.is_grad_enabled()))
        return 30.0

    before, modes = [part.training for part in student.modules()], []
    student.after_step = lambda step: modes.append([part.training for part in student.modules()])
    trainer(student, validate, steps=4, validate_every=1).train()
    assert seen == [(False, False)] * 4
    assert modes == [before] * 4


def test_a_loss_that_is_not_finite_stops_and_names_the_step(trainer, folder):
    with pytest.raises(TrainingError, match=r"loss of step 8 is nan; .*checkpoint\.pt, is of step 6; .*learning rate"):
        trainer(Probe(12, bad_loss=8), checkpoint_every=6, log_every=5).train()
    state = load_state(folder.checkpoint)
    assert state.steps == 6
    assert all(value.isfinite().all() for value in state.student.values())


def test_a_loss_that_is_not_finite_before_the_first_checkpoint(trainer, folder):
    with pytest.raises(TrainingError, match="loss of step 2 is nan; there is no checkpoint yet"):
        trainer(Probe(12, bad_loss=2), log_every=3).train()
    assert not folder.checkpoint.exists()


def test_parameters_that_are_not_finite_are_not_kept(trainer, folder):
    with pytest.raises(TrainingError, match=r"after step 8 network\.module\.head\.0\.bias is not finite; .* step 4"):
        trainer(Probe(12, bad_weight=8), checkpoint_every=4).train()
    assert load_state(folder.checkpoint).steps == 4


def test_pictures_are_in_unit_range_and_of_one_place(trainer, monkeypatch):
    seen, forward = [], Probe.forward
    monkeypatch.setattr(
        Probe, "forward", lambda self, low, high, step: seen.append((low, high)) or forward(self, low, high, step)
    )
    trainer(Probe(1), steps=1).train()
    ((low, high),) = seen
    assert low.dtype == high.dtype == torch.float32
    assert 0 <= high.min() < 0.3 < 0.6 < high.max() <= 1
    assert (torch.nn.functional.avg_pool2d(high, 2) - low).abs().mean() < 0.02


def test_tensorboard_gets_the_same_numbers(trainer, folder):
    trainer(Probe(2), steps=2, log_every=1, tensorboard=True).train()
    assert [path.name.startswith("events") for path in folder.tensorboard.iterdir()] == [True]


@pytest.mark.parametrize(("name", "value"), [("steps", 0), ("batch", 0), ("log_every", 0), ("ema", 1.0), ("ema", -0.1)])
def test_values_out_of_range(name, value):
    with pytest.raises(InputError, match=f"--{name.replace('_', '-')} {value}"):
        Run(**{"steps": 5, name: value})
