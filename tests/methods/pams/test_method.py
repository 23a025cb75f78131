"""PAMS: its grid, its first epoch, its three quantizers per block, its loss."""

import pytest
import torch

from srquant.distillation.loop import adam
from srquant.distillation.losses import attention_map
from srquant.errors import PolicyError
from srquant.insertion.policy import LayerBits, Policy
from srquant.methods.options import configure
from srquant.methods.pams.method import PAMS, PamsStudent, prepare
from srquant.methods.pams.quantizer import PamsQuantizer
from srquant.models.load import build
from srquant.models.network import Network
from srquant.quantizers.layers import QuantAddends, activation_quantizers, quant_layers, quantized_weight
from srquant.training.attention_teacher import tail_inputs

BODY = Policy(LayerBits(4, 4), head=None, tail=None)
LOW, HIGH = torch.rand(3, 3, 12, 12), torch.rand(3, 3, 24, 24)


def edsr(blocks: int = 2) -> Network:
    return build("edsr", {"blocks": blocks, "features": 4, "scale": 2})


def student(*settings: str, steps: int = 60) -> PamsStudent:
    return prepare(edsr(), [LOW], BODY, configure(PAMS, settings), steps)


def train(trained: PamsStudent, step: int, low: torch.Tensor = LOW) -> None:
    optimizer = adam(trained.rates())
    trained(low, HIGH, step).backward()
    optimizer.step()
    trained.after_step(step)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_values_are_multiples_of_the_bound_over_n(bits: int) -> None:
    n = 2 ** (bits - 1) - 1
    points = PamsQuantizer(torch.tensor(1.7), bits)(torch.linspace(-4, 4, 5001))
    assert torch.equal((points.detach() * n / 1.7).round().unique(), torch.arange(-n, n + 1.0))
    assert torch.allclose(points * n / 1.7, (points * n / 1.7).round(), atol=1e-4)


def test_the_gradient_to_the_bound_is_the_sign_outside_and_the_rounding_error_inside() -> None:
    quantizer = PamsQuantizer(torch.tensor(2.0), 3)
    for x, wanted in ((9.0, 1.0), (-9.0, -1.0), (0.9, (1 - 1.35) / 3), (-0.2, (0 + 0.3) / 3)):
        quantizer.zero_grad()
        quantizer(torch.tensor([x])).sum().backward()
        assert quantizer.alpha.grad == pytest.approx(wanted, abs=1e-6)


def test_the_first_epoch_doesnt_clip() -> None:
    quantizer = PamsQuantizer(torch.tensor(10.0), 3)
    quantizer.momentum = 0.0
    x = torch.tensor([[1.0, -3.0], [5.0, 0.1]], requires_grad=True)
    points = quantizer(x)
    step = (3.0 + 5.0) / 2 / 3
    assert torch.allclose(points, (x / step).round() * step)
    points.sum().backward()
    assert torch.equal(x.grad, torch.ones(2, 2))


def test_after_the_first_epoch_bounds_are_those_of_the_last_batch() -> None:
    trained = student()
    train(trained, 0)
    train(trained, 1, LOW.square())
    seen = trained.network.module.head(trained.network.module.sub_mean(255 * LOW.square()))
    bound = trained.quantizers()[0].alpha.detach().clone()
    assert torch.allclose(bound, seen.abs().flatten(1).amax(1).mean(), rtol=0.02), "the head moved in the step since"
    train(trained, 2)
    assert trained.quantizers()[0].alpha != bound, "later it is learned"
    assert torch.allclose(trained.quantizers()[0].alpha, bound, rtol=0.02)


def test_as_the_paper_says_they_are_a_moving_average() -> None:
    trained, bounds = student("first_epoch=average"), []
    for step, low in enumerate((LOW, LOW.square())):
        train(trained, step, low)
        bounds.append(trained.quantizers()[0].alpha.item())
    assert bounds[1] == pytest.approx(bounds[0], rel=1e-3)


def test_an_epoch_is_a_thirtieth_of_the_run() -> None:
    trained = student(steps=60)
    assert [trained.ema_decay(step) for step in (0, 1, 2)] == [0.0, 0.0, None]
    assert [trained.rate_factor(step) for step in (0, 19, 20, 40, 59)] == [1.0, 1.0, 0.5, 0.25, 0.25]


def test_a_block_has_three_grids_and_its_input_shares_one_with_what_passes_it() -> None:
    network = student().network
    names = [f"body.{block}.{place}" for block in (0, 1) for place in ("body.0", "body.2", "add.right")]
    assert sorted(activation_quantizers(network)) == sorted([*names, "body.2"])
    add = network.module.get_submodule("body.1.add")
    assert isinstance(add, QuantAddends)
    assert add.left is quant_layers(network)["body.1.body.0"].input_quantizer
    assert "body.0.add.right" not in activation_quantizers(student("addends=false").network)


def test_weights_are_whole_multiples_of_their_largest_over_n_before_and_after() -> None:
    trained = student()
    train(trained, 0)
    for layer in quant_layers(trained.network).values():
        largest = layer.weight.detach().abs().max()
        wanted = (layer.weight.detach() * 7 / largest).round() * largest / 7
        assert torch.allclose(quantized_weight(layer), wanted, atol=1e-6 * float(largest))
    for layer in quant_layers(trained.result().network).values():
        integers = layer.weight_quantizer.integer_weight(layer.weight).integers()
        assert integers.abs().max() == 7


def test_the_loss_is_l1_in_grey_levels_and_a_thousand_times_the_attention_before_the_tail() -> None:
    network = edsr()
    trained = prepare(network, [LOW], BODY, PAMS(), 60)
    loss = trained(LOW, HIGH, 0)
    with tail_inputs(network) as wanted, tail_inputs(trained.network) as given, torch.no_grad():
        network(LOW)
        difference = (trained.network(LOW) - HIGH).abs().mean()
    attention = (attention_map(given[0]) - attention_map(wanted[0])).square().mean()
    assert attention > 0
    assert loss.detach() == pytest.approx(float(255 * difference + 1000 * attention), rel=1e-4)


def test_rates_can_be_relative_to_bounds() -> None:
    trained = student("rates=relative")
    rates = list(trained.rates())
    assert rates[0].learning_rate == 1e-4
    largest = trained.network.module.head(trained.network.module.sub_mean(255 * LOW)).abs().flatten(1).amax(1).mean()
    assert rates[1].learning_rate == pytest.approx(0.01 * largest.item(), rel=1e-4)
    assert {rate.learning_rate for rate in list(student().rates())[1:]} == {0.01}


def test_only_the_student_learns() -> None:
    trained = student()
    learned = {id(p) for rate in trained.rates() for p in rate.parameters}
    assert learned == {id(p) for p in trained.network.parameters() if p.requires_grad}
    assert not any(p.requires_grad for p in trained.teacher.parameters())
    assert not trained.train().teacher.network.training


def test_sums_on_grids_are_refused() -> None:
    with pytest.raises(PolicyError, match="skip_bits none"):
        prepare(edsr(), [LOW], Policy(skip_bits=8), PAMS(), 60)
