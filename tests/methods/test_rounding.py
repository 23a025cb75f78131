"""Weights that make up for each other's rounding, in every method that has the option."""

import copy

import pytest
import torch

from srquant.deploy.frozen.freeze import freeze
from srquant.insertion.policy import LayerBits, Policy
from srquant.methods.options import configure
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


@pytest.mark.parametrize("rounding", ["compensated", "corrected"])
@pytest.mark.parametrize(("architecture", "name", "settings"), CASES.values(), ids=CASES.keys())
def test_pictures_come_closer_to_the_float_network(calibration, architecture, name, settings, rounding):
    network, method = build(*architecture).eval(), METHODS[name]
    state = copy.deepcopy(network.state_dict())
    policy = Policy(LayerBits(3, 6), kinds=("conv", "linear"))
    nearest, compensated = (
        method.quantize(network, calibration, policy, configure(method.config, (*settings, f"rounding={value}")))
        for value in ("nearest", rounding)
    )
    assert distance(compensated, network, calibration) < distance(nearest, network, calibration)
    assert all(torch.equal(tensor, network.state_dict()[key]) for key, tensor in state.items())
    assert compensated.origin.options["rounding"] == rounding
    (images,) = calibration.batches(4)
    with torch.inference_mode():
        torch.testing.assert_close(freeze(compensated).network(images), compensated.network(images))
