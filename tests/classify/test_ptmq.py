import pytest
import torch
from torch.nn import functional as F

from srquant.classify import ptmq
from srquant.classify.insert import initialise_steps, insert_quantizers
from srquant.classify.layers import QuantReLU
from srquant.classify.ptmq import FeatureMixer, choose_group, fuse, group_distillation
from srquant.classify.resnet import folded
from srquant.classify.units import block_units
from srquant.errors import PolicyError
from srquant.insertion.policy import LayerBits


def mixer_of(network, images, groups):
    teacher = folded(network)
    student = insert_quantizers(teacher, 4, groups)
    initialise_steps(student, images)
    unit = block_units(student)[1]
    unit.switch_on(student, weights=True, activations=True)
    block = student.get_submodule(unit.names[0])
    return FeatureMixer(block), torch.rand(3, 4, 6, 6), teacher.get_submodule(unit.names[0])


def test_equal_groups_give_equal_features_and_plain_distillation(network, images):
    mixer, x, block = mixer_of(network, images, (4, 4, 4))
    low, middle, high = mixer.features(x)
    assert torch.equal(low, middle)
    assert torch.equal(middle, high)
    target = block(x)
    expected = 100 * F.mse_loss(fuse([low, middle, high]), target)
    torch.testing.assert_close(group_distillation(target, [low, middle, high], 100.0), expected)


def test_distillation_by_hand():
    target, low, middle, high = (torch.full((2, 3), value) for value in (0.0, 1.0, 2.0, 6.0))
    assert group_distillation(target, [low, middle, high], 10.0) == pytest.approx(10 * (9 + 16 + 25))


def test_more_bits_are_nearer_to_float(network, images):
    mixer, x, _ = mixer_of(network, images, (2, 4, 8))
    for relu in mixer.modules():
        if isinstance(relu, QuantReLU):
            relu.quantize = False
    exact = mixer.block(x)
    for relu in mixer.modules():
        if isinstance(relu, QuantReLU):
            relu.quantize = True
    errors = [(feature - exact).square().mean() for feature in mixer.features(x)]
    assert errors[0] > errors[1] > errors[2]


def test_the_mixer_gives_the_mean_until_a_group_is_chosen(network, images):
    mixer, x, _ = mixer_of(network, images, (2, 4, 8))
    features = mixer.features(x)
    torch.testing.assert_close(mixer(x), (features[0] + features[1] + features[2]) / 3)
    for group in (2, 0, 1):
        choose_group(mixer, group)
        assert torch.equal(mixer(x), features[group])


def test_one_network_serves_all_groups(network, images):
    config = ptmq.PTMQ(3, rounding_rate=0.1, batch=8)
    student = ptmq.quantize(network, images, LayerBits(4, 4), config)
    low = student(images)
    choose_group(student, 2)
    high = student(images)
    again = ptmq.quantize(network, images, LayerBits(4, 8), config)
    assert torch.equal(high, again(images))
    assert not torch.equal(low, high)


@pytest.mark.parametrize(("groups", "bits"), [((4, 6, 8), 5), ((4, 8), 4)])
def test_impossible_groups_are_refused(network, images, groups, bits):
    with pytest.raises(PolicyError, match="three"):
        ptmq.quantize(network, images, LayerBits(4, bits), ptmq.PTMQ(3, groups))
