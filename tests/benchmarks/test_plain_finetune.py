"""The plain implementation computes what ours does, so that their times can be compared."""

import plain_finetune
import pytest
import torch

from srquant.distillation.features import features_of
from srquant.distillation.lessons import Lesson
from srquant.distillation.losses import normalised
from srquant.distillation.recipes import distillation
from srquant.grids.range_rules import minmax, symmetric_mse
from srquant.insertion.collect_ranges import Collection, activation_bounds
from srquant.insertion.insert_quantizers import insert_quantizers
from srquant.insertion.plan import resolve
from srquant.insertion.policy import LayerBits, Policy
from srquant.models.architectures.edsr import EDSR, facts
from srquant.models.network import Network
from srquant.quantizers.dan import DANQuantizer
from srquant.quantizers.layers import activation_quantizers, quant_layers


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_same_loss_and_same_gradients(dynamic):
    teacher = Network(EDSR(2, 8, 2), facts(2, 8, 2)).eval()
    images, policy = torch.rand(2, 3, 16, 20), Policy(LayerBits(4, 4))
    plan = resolve(teacher, policy)
    student = insert_quantizers(
        teacher, plan, activation_bounds(teacher, plan, [images], Collection(minmax, None)), symmetric_mse
    )
    if dynamic:
        for layer in quant_layers(student).values():
            layer.input_quantizer = DANQuantizer(layer.input_quantizer.bits, 1)
    move_bounds_off_the_values(student)
    plain = plain_finetune.plain(student)
    with torch.no_grad(), features_of(teacher) as features:
        lesson = Lesson(images, teacher(images), [normalised(feature) for feature in features.take()])
    with features_of(student) as features:
        loss = distillation(10.0)(student(images), features.take(), lesson)
    quantizers = list(activation_quantizers(student).values())
    bounds = [bound for quantizer in quantizers for bound in quantizer.parameters()]
    expected = torch.autograd.grad(loss, bounds)
    learned = plain_finetune.activation_bounds(plain)
    optimizer = torch.optim.SGD(learned, 0.0)
    assert plain_finetune.step(plain, teacher, images, optimizer, 10.0) == pytest.approx(loss.item(), rel=1e-4)
    gradients = [bound.grad for bound in learned]
    largest = max(float(gradient.abs()) for gradient in expected)
    for gradient, wanted in zip(gradients, expected, strict=True):
        assert float(gradient) == pytest.approx(float(wanted), rel=2e-2, abs=2e-2 * largest)


def move_bounds_off_the_values(student) -> None:
    """At a bound exactly, ours and PyTorch's own gradient of a minimum divide differently."""
    for quantizer in activation_quantizers(student).values():
        width = quantizer.upper.item() - quantizer.lower.item()
        quantizer.lower.data -= 0.05 * width
        quantizer.upper.data -= 0.1 * width
