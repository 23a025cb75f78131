"""Weights that make up for each other's rounding, in every method that has the option."""

import copy

import pytest
import torch

from srquant.deploy.file.save_load import save
from srquant.deploy.frozen.freeze import freeze
from srquant.insertion.policy import LayerBits, Policy
from srquant.methods.options import configure
from srquant.methods.ranges.mse import MSE
from srquant.methods.registry import METHODS
from srquant.models.load import build

EDSR = "edsr", {"blocks": 2, "features": 8}
SWINIR = "swinir", {"depths": [2], "heads": 2, "features": 8, "hidden": 16, "window": 4, "scale": 2}

CASES = {
    "mse": (EDSR, "mse", ()),
    "tails": (EDSR, "tails", ()),
    "2dquant": (EDSR, "2dquant", ("dqc=false",)),
    "2dquant, learned": (EDSR, "2dquant", ("iterations=4", "batch=2", "rates=relative")),
    "gba": (EDSR, "gba", ("finetune=false",)),
    "gba, static": (EDSR, "gba", ("finetune=false", "dan_stages=none")),
    "2dquant on SwinIR": (SWINIR, "2dquant", ("dqc=false",)),
    "gba on SwinIR": (SWINIR, "gba", ("finetune=false", "dan_stages=none")),
}


def distance(model, network, calibration):
    (images,) = calibration.batches(4)
    with torch.inference_mode():
        return float((model.network(images) - network(images)).square().mean())


@pytest.mark.parametrize("rounding", ["gptq", "gptaq"])
@pytest.mark.parametrize(("architecture", "name", "settings"), CASES.values(), ids=CASES.keys())
def test_pictures_come_closer_to_the_float_network(calibration, architecture, name, settings, rounding):
    network, method = build(*architecture).eval(), METHODS[name]
    state = copy.deepcopy(network.state_dict())
    policy = Policy(LayerBits(3, 6), kinds=("conv", "linear"))
    nearest, rounded = (
        method.quantize(network, calibration, policy, configure(method.config, (*settings, f"rounding={value}")))
        for value in ("nearest", rounding)
    )
    assert distance(rounded, network, calibration) < distance(nearest, network, calibration)
    assert all(torch.equal(tensor, network.state_dict()[key]) for key, tensor in state.items())
    assert rounded.origin.options["rounding"] == rounding
    (images,) = calibration.batches(4)
    with torch.inference_mode():
        torch.testing.assert_close(freeze(rounded).network(images), rounded.network(images))


@pytest.mark.parametrize(("alias", "rounding"), [("compensated", "gptq"), ("corrected", "gptaq")])
def test_another_name_of_a_rounding_gives_the_same_file(calibration, tmp_path, alias, rounding):
    network, method = build(*EDSR).eval(), METHODS["mse"]
    configs = {
        "nearest": MSE(),
        "name": MSE(rounding=rounding),
        "setting": configure(MSE, [f"rounding={alias}"]),
        "python": MSE(rounding=alias),
    }
    files = {}
    for name, config in configs.items():
        model = method.quantize(network, calibration, Policy(LayerBits(3, 6)), config)
        save(freeze(model), tmp_path / name)
        files[name] = (tmp_path / name).read_bytes()
    assert files["name"] == files["setting"] == files["python"] != files["nearest"]
    assert f'"{rounding}"'.encode() in files["python"].replace(b"\\", b"")


@pytest.mark.parametrize("method", ["mse", "tails", "2dquant", "gba"])
def test_every_method_with_the_option_takes_both_names(method):
    config = METHODS[method].config
    assert configure(config, ["rounding=corrected"]) == config(rounding="corrected") == config(rounding="gptaq")
