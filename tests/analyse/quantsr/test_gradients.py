import numpy as np
import pytest
import torch

from srquant.analyse.quantsr.gradients import gradient_files, measure_gradients
from srquant.errors import PolicyError
from srquant.insertion.policy import LayerBits, Policy
from srquant.methods.quantsr.method import QuantSR, prepare
from srquant.methods.quantsr.redistribution import phi_slope
from srquant.methods.quantsr.statistics import gradient_change, rlq_layers


@pytest.fixture
def student(teacher):
    def make(**options):
        policy = Policy(LayerBits(4, 4), head=None, tail=None)
        return prepare(teacher, [torch.rand(2, 3, 12, 12)], policy, QuantSR(**options), 10)

    return make


def crops():
    return torch.rand(2, 3, 12, 12), torch.rand(2, 3, 24, 24)


def test_differences_are_those_of_the_slope_of_phi(student):
    learner = student()
    found = measure_gradients(learner, *crops(), step=0)
    layers = rlq_layers(learner.network)
    assert list(found) == list(layers)
    for name, effect in found.items():
        layer = layers[name]
        slope = phi_slope(layer.layer.weight / layer.weight_quantizer.alpha, 1.0).detach().flatten().numpy()
        gradient = layer.layer.weight.grad.flatten().numpy()
        straight = gradient / slope
        assert effect.differences == pytest.approx((gradient - straight) / np.sqrt(np.mean(straight**2)), abs=1e-5)
        assert 0 < effect.relative < 0.16
    assert gradient_change(learner.network) < 0.16


def test_without_redistribution_there_is_nothing_to_see(student):
    with pytest.raises(PolicyError, match="redistribution=false"):
        measure_gradients(student(redistribution=False), *crops(), step=0)


def test_files(student):
    found = measure_gradients(student(), *crops(), step=0)
    files = gradient_files(found)
    assert len(files["gradients.csv"].decode().splitlines()) == 1 + len(found)
    assert files["gradients.png"].startswith(b"\x89PNG")
