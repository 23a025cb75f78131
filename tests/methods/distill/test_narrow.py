"""Ranges that are narrowed where the picture gains."""

from itertools import islice

import pytest
import torch

from srquant.distillation.lessons import recorded
from srquant.grids.range_rules import minmax
from srquant.insertion.plan import resolve
from srquant.insertion.policy import LayerBits, Policy
from srquant.methods.distill.held_out import error
from srquant.methods.distill.narrow import narrow_ranges
from srquant.methods.ranges.pipeline import Ranges, insert_by_ranges
from srquant.models.load import build
from srquant.quantizers.layers import activation_quantizers

BITS = Policy(LayerBits(3, 3))
LAYER = "body.0.body.0"


@pytest.fixture
def network():
    return build("edsr", {"blocks": 1, "features": 6}).eval()


@pytest.fixture
def lessons(network, calibration):
    with recorded(network, islice(calibration.batches(2, 7), 2)) as made:
        yield made


@pytest.fixture
def student(network, calibration):
    return insert_by_ranges(network, calibration, resolve(network, BITS), Ranges(minmax, minmax, 0.9))


def bounds(student):
    return {name: float(quantizer.upper.detach()) for name, quantizer in activation_quantizers(student).items()}


@torch.no_grad()
def test_a_range_that_is_far_too_wide_becomes_narrow(student, lessons):
    wide = activation_quantizers(student)[LAYER]
    fitting = float(wide.upper)
    wide.lower.mul_(16)
    wide.upper.mul_(16)
    before = error(student, lessons)
    narrow_ranges(student, lessons)
    assert float(wide.upper) <= 2 * fitting
    assert error(student, lessons) < 0.9 * before


def test_ranges_of_the_picture_stay_and_others_are_halved(student, lessons):
    before = bounds(student)
    narrow_ranges(student, lessons)
    factors = {name: before[name] / upper for name, upper in bounds(student).items()}
    assert factors["head.0"] == 1
    assert all(factor in {1, 2, 4, 8} for factor in factors.values())


def test_a_range_that_fits_stays(student, lessons):
    narrow_ranges(student, lessons)
    quantizer = activation_quantizers(student)[LAYER]
    with torch.no_grad():
        quantizer.lower.mul_(1 / 8)
        quantizer.upper.mul_(1 / 8)
    narrow, before = float(quantizer.upper.detach()), error(student, lessons)
    narrow_ranges(student, lessons)
    assert float(quantizer.upper.detach()) == narrow
    assert error(student, lessons) <= before
