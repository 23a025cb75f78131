"""Learning that is counted in iterations."""

import pytest
import torch

from srquant.distillation.iterations import Iterations, cosine, epochs, iterate
from srquant.distillation.lessons import recorded
from srquant.distillation.losses import output_loss
from srquant.errors import PolicyError
from srquant.quantizers.layers import activation_quantizers


def loss(output, features, lesson):
    return output_loss(output, lesson.output)


@pytest.mark.parametrize(("done", "value"), [(0.0, 1.0), (0.5, 0.7), (1.0, 0.4)])
def test_half_a_cosine(done, value):
    assert cosine(done, 0.4) == pytest.approx(value)


@pytest.mark.parametrize(("iterations", "batch", "pictures", "most", "expected"), [
    (250, 2, 100, 8, 5), (3000, 32, 100, 8, 8), (300, 4, 100, 99, 12), (1, 32, 5, 8, 7),
])  # fmt: skip
def test_different_crops_are_those_that_are_seen(iterations, batch, pictures, most, expected):
    assert epochs(iterations, batch, pictures, most) == expected


def test_lessons_are_repeated_and_rates_fall(student, teacher, calibration):
    """Five crops in batches of 2 are three lessons."""
    network, seen, steps = student(), [], []
    quantizers = list(activation_quantizers(network).values())
    before = [q.upper.detach().clone() for q in quantizers]

    def told(output, features, lesson):
        seen.append(lesson.images)
        return loss(output, features, lesson)

    with recorded(teacher, calibration.batches(2)) as lessons:
        plan = Iterations(7, 0.01, 0.0)
        iterate(network, quantizers, lessons, plan, told, lambda: steps.append(1), lambda: None)
    assert len(seen) == len(steps) == 7
    assert torch.equal(seen[0], seen[3])
    assert not torch.equal(seen[0], seen[1])
    moved = [float((q.upper.detach() - b).abs()) for q, b in zip(quantizers, before, strict=True)]
    assert 0 < max(moved) <= 0.01 * sum(cosine(i / 7, 0.0) for i in range(7)) + 1e-4


def test_relative_rates_follow_the_range(student, teacher, calibration):
    network = student()
    quantizers = list(activation_quantizers(network).values())
    before = [(q.lower.detach().clone(), q.upper.detach().clone()) for q in quantizers]
    with recorded(teacher, calibration.batches(5)) as lessons:
        iterate(network, quantizers, lessons, Iterations(1, 0.01, 0.01, True), loss, lambda: None, lambda: None)
    shares = [
        float((quantizer.upper.detach() - upper).abs() / (upper - lower))
        for quantizer, (lower, upper) in zip(quantizers, before, strict=True)
    ]
    assert max(shares) == pytest.approx(0.01, rel=1e-2)  # Adam's first step is the rate where gradients aren't tiny
    assert sum(share > 0.005 for share in shares) > len(shares) / 2


@pytest.mark.parametrize(
    ("count", "first", "last"), [(0, 0.1, 0.0), (5, 0.1, 0.2), (5, -0.1, -0.2), (5, float("nan"), 0)]
)
def test_plans_that_cannot_be(count, first, last):
    with pytest.raises(PolicyError, match="iterations, learning rates"):
        Iterations(count, first, last)
