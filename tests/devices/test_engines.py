"""The PyTorch engine computes on the device of the network; engines of the CPU refuse other devices."""

import copy

import numpy as np
import pytest
import torch

from srquant.deploy.frozen.freeze import freeze
from srquant.distillation.loop import adam
from srquant.errors import InputError
from srquant.insertion.policy import LayerBits, Policy
from srquant.methods.options import configure
from srquant.methods.registry import METHODS
from srquant.methods.trained_registry import TRAINED
from srquant.models.load import build
from srquant.upscale.engines.open_engine import open_engine

QUICK = {"mse": [], "adabm": ["epochs=3"], "outlier-aware": ["finetune=none"], "gba": ["finetune=false", "epochs=1"]}


@pytest.fixture
def network():
    return build("edsr", {"blocks": 2, "features": 8}).eval()


@pytest.mark.parametrize("name", QUICK)
def test_frozen_networks_give_the_same_picture_on_every_device(second_device, network, calibration, name):
    method = METHODS[name]
    config = configure(method.config, QUICK[name])
    frozen = freeze(method.quantize(network, calibration, Policy(LayerBits(4, 4)), config)).network
    images = np.random.default_rng(0).random((2, 3, 14, 16), np.float32)
    expected = open_engine("torch", copy.deepcopy(frozen))(images)
    engine = open_engine("auto", frozen.to(second_device))
    assert engine.name == "torch"
    np.testing.assert_array_equal(engine(images), expected)


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_other_engines_compute_on_the_cpu(second_device, network, name):
    with pytest.raises(InputError, match=f"--device meta: engine {name} computes on the CPU"):
        open_engine(name, network.to(second_device))


@pytest.mark.parametrize("name", TRAINED)
def test_training_steps(second_device, network, calibration, name):
    """The student computes on the device it was moved to."""
    method, crops = TRAINED[name], list(calibration.batches(4))
    policy = Policy(LayerBits(8, 8), head=None, tail=None)
    student = method.prepare(network, crops, policy, method.config(), 4).to(second_device)
    optimizer = adam(student.rates())
    low, high = crops[0].to(second_device), torch.zeros(4, 3, 28, 28, device=second_device)
    for step in range(2):
        loss = student(low, high, step)
        assert loss.device == second_device
        optimizer.zero_grad()
        loss.backward()
        student.after_backward()
        optimizer.step()
        student.after_step(step)
