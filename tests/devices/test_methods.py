"""Every post-training method computes on the device of the network, and gives the file that it gives on the CPU."""

import copy

import pytest
import torch

from srquant.deploy.file.save_load import save
from srquant.deploy.frozen.freeze import freeze
from srquant.distillation import lessons
from srquant.insertion.policy import LayerBits, Policy
from srquant.methods.options import configure
from srquant.methods.registry import METHODS
from srquant.models.load import build

CASES = {
    "minmax": [[]],
    "percentile": [["finetune=together"]],
    "mse": [["rounding=gptq"], ["rounding=gptaq", "finetune=published"]],
    "tails": [[]],
    "ptq4sr": [["iterations=2"], ["iterations=2", "weights=per_channel", "rates=relative"]],
    "adabm": [["epochs=3"], ["epochs=3", "image_to_bit=false"]],
    "2dquant": [["iterations=2", "batch=2"]],
    "outlier-aware": [["epochs=3"], ["epochs=3", "finetune=vft"]],
    "distill": [["steps=2", "batch=2"]],
    "auto": [],  # distill with other numbers of steps
    "gba": [["epochs=1"], ["epochs=1", "mixed=both", "dan_stages=none", "rounding=gptq"]],
}
POLICY = Policy(LayerBits(4, 4))
PER_CHANNEL = Policy(LayerBits(4, 4), granularity="channel", activation_granularity="channel", skip_bits=8)


@pytest.fixture
def network():
    return build("edsr", {"blocks": 2, "features": 8}).eval()


@pytest.fixture
def file_of(calibration, tmp_path):
    """The bytes of the file that a method makes of a network, whose tensors must all be on its device."""

    def make(name, network, policy, settings):
        method = METHODS[name]
        model = method.quantize(network, calibration, policy, configure(method.config, settings))
        device = next(network.parameters()).device
        assert {tensor.device for tensor in model.network.state_dict().values()} == {device}
        save(freeze(model), tmp_path / "model.safetensors", overwrite=True)
        return (tmp_path / "model.safetensors").read_bytes()

    return make


@pytest.mark.parametrize(("name", "settings"), [(name, case) for name in METHODS for case in CASES.get(name, [[]])])
def test_methods_give_the_same_file_on_every_device(second_device, network, file_of, name, settings):
    expected = file_of(name, copy.deepcopy(network), POLICY, settings)
    assert file_of(name, network.to(second_device), POLICY, settings) == expected


@pytest.mark.parametrize(
    ("name", "settings"), [("mse", ["rounding=gptaq"]), ("ptq4sr", ["pac=false"]), ("adabm", ["epochs=3"])]
)
def test_a_device_without_float64(device_without_float64, network, calibration, name, settings):
    """The network is settled on the CPU; what needs float64 before is computed there."""
    method = METHODS[name]
    config = configure(method.config, settings)
    expected = method.quantize(copy.deepcopy(network), calibration, POLICY, config).network.state_dict()
    found = method.quantize(network.to(device_without_float64), calibration, POLICY, config).network.cpu().state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[key]) for key, tensor in found.items())


@pytest.mark.parametrize("name", ["mse", "tails"])
def test_grids_per_channel_and_on_sums(second_device, network, file_of, name):
    settings = ["rounding=gptaq"] if name == "mse" else []
    expected = file_of(name, copy.deepcopy(network), PER_CHANNEL, settings)
    assert file_of(name, network.to(second_device), PER_CHANNEL, settings) == expected


def tensors_of(lesson):
    return [lesson.images, lesson.output, *lesson.features]


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_lessons_stay_on_the_device_while_they_fit(second_device, network, calibration, monkeypatch, kept):
    with lessons.recorded(network, calibration.batches(2)) as recorded:
        expected = list(recorded)
        size = sum(path.stat().st_size for path in recorded.folder.iterdir()) // 2
        assert recorded.kept == []
    monkeypatch.setattr(lessons, "memory_for_lessons", lambda device: kept * size)
    with lessons.recorded(network.to(second_device), calibration.batches(2)) as recorded:
        found = list(recorded)
        assert (len(recorded), len(recorded.kept)) == (2, kept)
        assert len(list(recorded.folder.iterdir())) == 2 - kept
    for lesson, other in zip(found, expected, strict=True):
        tensors = zip(tensors_of(lesson), tensors_of(other), strict=True)
        assert all(a.device == second_device and torch.equal(a.cpu(), b) for a, b in tensors)


def test_lessons_are_on_disk_on_the_cpu():
    assert lessons.memory_for_lessons(torch.device("cpu")) == 0
