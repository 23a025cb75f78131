"""DoReFa's weights follow the paper's formula; its activations follow what was seen."""

import pytest
import torch

from srquant.errors import PolicyError
from srquant.insertion.policy import LayerBits, Policy
from srquant.methods.dorefa.method import DoReFa, DoReFaStudent, TanhWeightQuantizer, prepare
from srquant.models.load import build
from srquant.quantizers.layers import activation_quantizers, quant_layers, quantized_weight

LOW, HIGH = torch.rand(3, 3, 12, 12), torch.rand(3, 3, 24, 24)


def student(bits: int = 3) -> DoReFaStudent:
    network = build("edsr", {"blocks": 1, "features": 4, "scale": 2})
    policy = Policy(LayerBits(bits, bits), head=None, tail=None)
    return prepare(network, [LOW], policy, DoReFa(), steps=4)


@pytest.mark.parametrize("bits", [2, 3, 5])
def test_weights_are_those_of_the_paper_times_their_largest_magnitude(bits: int) -> None:
    weight = torch.randn(6, 5, 3, 3)
    largest, n = weight.abs().max(), 2**bits - 1
    unit = weight.tanh() / (2 * weight.tanh().abs().max()) + 0.5
    paper = (2 * (unit * n).round() / n - 1) * largest
    points = TanhWeightQuantizer(-largest, largest, bits, symmetric=True)(weight)
    assert torch.allclose(points, paper, atol=1e-5)
    assert points.unique().numel() == n + 1


def test_gradients_pass_through_rounding_and_tanh() -> None:
    weight = torch.randn(20, requires_grad=True)
    largest = weight.detach().abs().max()
    TanhWeightQuantizer(-largest, largest, 3, symmetric=True)(weight).sum().backward()
    bent = weight.detach().tanh()
    inside = bent.abs() < bent.abs().max()
    slope = (1 - bent**2) * largest / bent.abs().max()
    assert torch.allclose(weight.grad[inside], slope[inside], atol=1e-5)


def test_activations_lie_on_a_grid_with_a_zero_in_the_middle() -> None:
    quantizer = next(iter(activation_quantizers(student().network).values()))
    integers = (quantizer(torch.linspace(-900, 900, 999)[None]) * 3 / quantizer.upper).detach()
    assert torch.allclose(integers, integers.round(), atol=1e-5)
    assert integers.round().unique().tolist() == [-3, -2, -1, 0, 1, 2, 3]


def test_bounds_are_the_running_mean_of_largest_magnitudes() -> None:
    trained = student()
    quantizer = activation_quantizers(trained.network)["body.0.body.0"]
    before = quantizer.upper.detach().clone()
    trained(LOW, HIGH, 0)
    trained.after_step(0)
    seen = trained.network.module.head(trained.network.module.sub_mean(255 * LOW)).abs().flatten(1).amax(1).mean()
    assert torch.allclose(quantizer.upper, 0.9 * before + 0.1 * seen)


def test_the_result_has_the_weights_of_training() -> None:
    trained = student()
    wanted = {name: quantized_weight(layer).detach() for name, layer in quant_layers(trained.network).items()}
    for name, layer in quant_layers(trained.result().network).items():
        points = quantized_weight(layer)
        largest = wanted[name].abs().max()
        assert torch.allclose(points / points.abs().max(), (wanted[name] / largest).double(), atol=1e-5), (
            "the same codes"
        )
        assert points.abs().max() == pytest.approx(float(largest), rel=0.05), "settling stretches by a few percent"


def test_channel_grids_are_refused() -> None:
    network = build("edsr", {"blocks": 1, "features": 4, "scale": 2})
    with pytest.raises(PolicyError, match="activation_granularity 'tensor'"):
        prepare(network, [LOW], Policy(activation_granularity="channel"), DoReFa(), steps=4)
