"""Weights are floating point numbers of a magnitude that networks have."""

import pytest
import torch
from safetensors.torch import save_file

from srquant.errors import CheckpointError
from srquant.models.checkpoint_file.values import magnitude_problem
from srquant.models.load import build, load_model, load_strictly

NAME = "body.0.body.2.weight"


@pytest.mark.parametrize("kind", [torch.bool, torch.uint8, torch.int8, torch.int64, torch.complex64])
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_weights_that_are_no_floats(weights, tmp_path, complaint, kind, suffix):
    odd = {**weights, NAME: weights[NAME].to(kind)}
    path = tmp_path / f"net.{suffix}"
    torch.save(odd, path) if suffix == "pt" else save_file(odd, path)
    assert f"{NAME} has numbers of {kind}; weights are floating point numbers" in complaint(path)


def test_other_floats_of_the_network(tmp_path):
    """A slope has another name than weight or bias, yet the network's own is a float."""
    network = build("rrdbnet", {"blocks": 1, "features": 4, "growth": 4})
    own = network.module.state_dict()
    name = next(iter(own))
    with pytest.raises(CheckpointError, match=rf"{name} has numbers of torch.int64"):
        load_strictly(network.module, {**own, name: own[name].long()})


def test_numbers_that_are_not_read(weights, tmp_path, complaint):
    packed = torch.zeros(weights[NAME].shape, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
    torch.save({**weights, NAME: packed}, tmp_path / "net.pt")
    assert f"{NAME} has numbers of torch.float4_e2m1fn_x2, which can't be read" in complaint(tmp_path / "net.pt")


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2])
def test_other_floats_become_float32(weights, tmp_path, kind):
    torch.save({name: tensor.to(kind) for name, tensor in weights.items()}, tmp_path / "net.pt")
    loaded = load_model(tmp_path / "net.pt").module.state_dict()
    assert torch.equal(loaded[NAME], weights[NAME].to(kind).float())


@pytest.mark.parametrize("value", [1e38, -1e38, 1.1e12])
@pytest.mark.parametrize("name", [NAME, "head.0.bias", "add_mean.bias"])
def test_absurd_magnitudes(weights, tmp_path, complaint, value, name):
    weights[name].view(-1)[1] = value
    torch.save(weights, tmp_path / "net.pt")
    assert f"{name} contains {abs(value):.3g}, more than 1e+12; the training diverged" in complaint(tmp_path / "net.pt")


def test_too_large_for_float32(weights, tmp_path, complaint):
    torch.save({**weights, NAME: weights[NAME].double() * 1e300}, tmp_path / "net.pt")
    assert f"{NAME} contains NaN or infinity" in complaint(tmp_path / "net.pt")


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ([], None),
        ([1e12, -1e12], None),
        ([0.0, -2e12], "contains 2e+12, more than 1e+12"),
        ([float("nan"), 1.0], "contains NaN or infinity"),
        ([float("-inf"), 1.0], "contains NaN or infinity"),
    ],
)
def test_magnitude_problem(values, problem):
    assert magnitude_problem(torch.tensor(values)) == problem


def test_integers_have_no_magnitude_problem():
    assert magnitude_problem(torch.tensor([2**62])) is None
