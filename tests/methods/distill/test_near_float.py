"""Weights that keep their rounding and come near the float weights."""

import pytest
import torch

from srquant.insertion.policy import LayerBits, Policy
from srquant.methods.distill.near_float import move_near_float, nearest_in_cell
from srquant.quantizers.base import WeightQuantizer
from srquant.quantizers.layers import quant_layers, quantized_weight
from srquant.weight_rounding.gptq import apply_gptq


def test_values_stay_in_their_cell():
    quantizer = WeightQuantizer(torch.tensor(-3.0), torch.tensor(3.0), 2, symmetric=True)
    rounded = torch.tensor([-1.0, -1.0, -1.0, 3.0, 3.0])
    weight = torch.tensor([-1.3, 0.4, -2.5, 9.0, 0.0])
    expected = torch.tensor([-1.3, -0.05, -1.95, 3.0, 2.05])
    assert torch.allclose(nearest_in_cell(weight, rounded, quantizer), expected)


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_rounding_stays_and_float_weights_come_near(teacher, quantized, pictures, granularity):
    policy = Policy(LayerBits(2, 2), granularity=granularity, activation_granularity=granularity)
    student = quantized(teacher, policy)
    apply_gptq(student, teacher, [pictures()])
    layers = quant_layers(student)
    points = {name: quantized_weight(layer).detach() for name, layer in layers.items()}
    away = {
        name: (layer.weight - teacher.module.get_submodule(name).weight).abs().sum() for name, layer in layers.items()
    }
    move_near_float(student, teacher)
    for name, layer in layers.items():
        assert torch.allclose(quantized_weight(layer), points[name], rtol=1e-5)
        assert (layer.weight - teacher.module.get_submodule(name).weight).abs().sum() < away[name]
