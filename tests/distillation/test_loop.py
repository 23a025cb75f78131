"""The loop of learning."""

import torch

from srquant.distillation.lessons import Lesson
from srquant.distillation.loop import Guards, adam, train_pass
from srquant.insertion.policy import LayerBits, Policy
from srquant.methods.distill.rates import own_size_rates


def precision():
    return torch.backends.cudnn.conv.fp32_precision


def test_only_gradients_may_be_computed_in_tf32(student):
    network, seen = student(Policy(LayerBits(4, 4))), []

    def loss(output, features, lesson):
        seen.append(precision())
        output.register_hook(lambda gradient: seen.append(precision()))
        return (output - lesson.output).abs().mean()

    lesson = Lesson(torch.rand(1, 3, 12, 12), torch.rand(1, 3, 24, 24), [])
    train_pass(network, [lesson], adam(own_size_rates(network, 0.006, 0.001)), loss, Guards(network))
    assert seen == ["ieee", "tf32"]
