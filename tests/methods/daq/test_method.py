"""DAQ: students, what they learn, and the networks that become of them."""

from pathlib import Path

import pytest
import torch

from srquant.deploy.file.save_load import load, save
from srquant.deploy.frozen.freeze import freeze
from srquant.errors import PolicyError
from srquant.insertion.policy import LayerBits, Policy
from srquant.methods.daq import method as daq
from srquant.methods.daq.quantizer import DAQQuantizer
from srquant.models.load import build
from srquant.models.network import Network
from srquant.quantizers.layers import quant_layers

POLICY = Policy(LayerBits(4, 3), head=None, tail=None)


@pytest.fixture
def network() -> Network:
    return build("edsr", {"blocks": 2, "features": 8}).eval()


@pytest.fixture
def crops() -> list[torch.Tensor]:
    return [torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(1))]


def test_two_quantizers_per_block_of_the_right_form(network, crops):
    student = daq.prepare(network, crops, POLICY, daq.DAQ(), 10)
    forms = {name: layer.input_quantizer.rectified for name, layer in quant_layers(student.network).items()}
    assert forms == {
        "body.0.body.0": False,
        "body.0.body.2": True,
        "body.1.body.0": False,
        "body.1.body.2": True,
        "body.2": False,
    }


def test_only_weights_and_biases_learn(network, crops):
    student = daq.prepare(network, crops, POLICY, daq.DAQ(), 10)
    (rate,) = student.rates()
    assert sum(p.numel() for p in rate.parameters) == sum(p.numel() for p in network.parameters())
    assert all(parameter.requires_grad for parameter in rate.parameters)


def test_rate_is_halved_at_half_of_the_run(network, crops):
    student = daq.prepare(network, crops, POLICY, daq.DAQ(), 10)
    assert [student.rate_factor(step) for step in (0, 4, 5, 9)] == [1.0, 1.0, 0.5, 0.5]


def test_training_lowers_the_loss(trained, network, crops):
    student = daq.prepare(network, crops, POLICY, daq.DAQ(learning_rate=1e-3), 30)
    losses = trained(student, crops, 30)
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_result_computes_like_the_student_and_so_does_its_file(trained, network, crops, tmp_path: Path):
    student = daq.prepare(network, crops, POLICY, daq.DAQ(), 3)
    trained(student, crops, 3)
    result = student.eval().result()
    with torch.no_grad():
        expected, found = student.network(crops[0]), result.network(crops[0])
    assert float((expected - found).abs().mean()) < 1e-3 * float(expected.std())
    save(freeze(result), tmp_path / "daq.safetensors")
    loaded = load(tmp_path / "daq.safetensors")
    with torch.no_grad():
        assert torch.equal(loaded.network(crops[0]), found)
    assert loaded.origin.method == "daq"


def test_transformers_have_grids_per_channel_of_the_last_axis(crops):
    network = build("swinir", {"depths": [2], "heads": 2, "features": 8, "hidden": 16, "scale": 2}).eval()
    student = daq.prepare(network, [torch.rand(1, 3, 16, 16)], POLICY, daq.DAQ(), 3)
    axes = {q.channel_axis for q in student.network.modules() if isinstance(q, DAQQuantizer)}
    assert axes == {1, -1}
    assert student(torch.rand(1, 3, 16, 16), torch.rand(1, 3, 32, 32), 0).isfinite()


@pytest.mark.parametrize(
    ("policy", "config", "message"),
    [
        (Policy(skip_bits=8), daq.DAQ(), "sums"),
        (Policy(kinds=("conv", "matmul")), daq.DAQ(), "matrix products"),
        (Policy(granularity="channel"), daq.DAQ(), "granularity"),
        (POLICY, daq.DAQ(spread_bits=1), "spread_bits"),
    ],
)
def test_what_it_cant_do_is_refused(network, crops, policy, config, message):
    with pytest.raises(PolicyError, match=message):
        daq.prepare(network, crops, policy, config, 10)
