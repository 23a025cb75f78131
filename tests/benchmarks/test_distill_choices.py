"""The choices of distill: each changes what it says, and its network can be frozen."""

import pytest
import torch
from distill_choices import CHOICES
from distill_ideas import FEWEST
from distill_variants import Choice, finished, learned, stages

from srquant.data.calibration import CalibrationSet
from srquant.deploy.frozen.freeze import freeze
from srquant.insertion.policy import LayerBits, Policy
from srquant.quantizers.layers import quant_layers

SPECIAL = (
    "start",
    "average",
    "damping",
    "rank",
    "blocks_share",
    "progressive",
    "idea",
    "granularity",
    "feature_weight",
)
"""Fields that change what runs, not only a number."""


@pytest.fixture(scope="module")
def calibration(smooth_pictures):
    return CalibrationSet(smooth_pictures(4, 20, 22), count=4, seed=0, patch=14)


def is_special(choice):
    return any(getattr(choice, name) != getattr(Choice("distill"), name) for name in SPECIAL)


@pytest.mark.parametrize("choice", [*filter(is_special, CHOICES)], ids=lambda choice: choice.label)
def test_every_choice_gives_a_network_that_runs(teacher, calibration, choice):
    bits = FEWEST.get(choice.idea, 2)
    student = learned(choice, teacher, calibration, bits, steps=8)
    frozen = freeze(finished(student, Policy(LayerBits(bits, bits)))).network
    images = torch.rand(1, 3, 12, 12)
    assert torch.isfinite(frozen(images)).all()


def test_blocks_and_low_rank_changes_learn_less_than_everything(teacher, calibration):
    free, low = (learned(Choice("x", rank=rank), teacher, calibration, 2, steps=6) for rank in (0, 1))
    start = learned(Choice("x", learning_rate=1e-12, bound_rate=1e-12), teacher, calibration, 2, steps=1)
    for name, layer in quant_layers(start).items():
        change = quant_layers(low)[name].weight - layer.weight
        rows = change.detach().flatten(1)
        assert torch.linalg.matrix_rank(rows, rtol=1e-3) <= 1
    assert any(
        not torch.equal(layer.weight, quant_layers(start)[name].weight) for name, layer in quant_layers(free).items()
    )


def test_progressive_bits_end_at_the_bits_asked_for():
    assert stages(Choice("x", progressive=True), 2, 100) == [(4, 25), (3, 25), (2, 50)]
    assert stages(Choice("x"), 2, 100) == [(2, 100)]
