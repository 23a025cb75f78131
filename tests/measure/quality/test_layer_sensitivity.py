import copy

import pytest
import torch

from srquant.deploy.frozen.freeze import freeze
from srquant.insertion.policy import LayerBits, Override, Policy
from srquant.insertion.quantized_model import Origin, QuantizedModel
from srquant.measure.quality.layer_sensitivity import layer_sensitivity


@pytest.fixture
def frozen(teacher, quantized):
    policy = Policy(LayerBits(3, 3), overrides=(Override("body.2", None),))
    return freeze(QuantizedModel(quantized(copy.deepcopy(teacher), policy), policy, Origin("minmax"))).network


def test_each_quantized_layer_alone(teacher, frozen, pictures):
    image = pictures(1)
    found = layer_sensitivity(teacher, frozen, [image])
    names = {"head.0", "body.0.body.0", "body.0.body.2", "body.1.body.0", "body.1.body.2", "tail.0.0", "tail.1"}
    assert set(found) == names
    by_hand = copy.deepcopy(teacher)
    by_hand.module.set_submodule("body.0.body.0", frozen.module.get_submodule("body.0.body.0"))
    with torch.no_grad():
        expected = torch.mean((by_hand(image) - teacher(image)) ** 2)
    assert found["body.0.body.0"] == pytest.approx(float(expected), rel=1e-5)
    assert min(found.values()) > 0


def test_the_float_network_stays_as_it_is(teacher, frozen, pictures):
    before = teacher(pictures(1))
    layer_sensitivity(teacher, frozen, [pictures(1)])
    assert torch.equal(teacher(pictures(1)), before)


def test_the_error_of_several_pictures_is_their_mean(teacher, frozen, pictures):
    images = [pictures(1, seed=1), pictures(1, seed=2)]
    alone = [layer_sensitivity(teacher, frozen, [image])["tail.1"] for image in images]
    assert layer_sensitivity(teacher, frozen, images)["tail.1"] == pytest.approx(sum(alone) / 2)
