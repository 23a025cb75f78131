"""Weights are found where training frameworks put them, under the names that these give them."""

import argparse
import collections
import datetime
import pathlib
import time

import numpy as np
import pytest
import torch
from lightning_fabric.utilities.data import AttributeDict

from srquant.models.checkpoint_file.containers import spellings, weights_in
from srquant.models.load import load_model


def prefixed(weights, *prefixes):
    return {prefix + name: tensor for prefix in prefixes for name, tensor in weights.items()}


def zeros(weights):
    return {name: torch.zeros_like(tensor) for name, tensor in weights.items()}


CONTAINERS = {
    "compiled": lambda w: prefixed(w, "_orig_mod."),
    "compiled in processes": lambda w: prefixed(w, "module._orig_mod."),
    "processes in compiled": lambda w: prefixed(w, "_orig_mod.module."),
    "body compiled": lambda w: {name.replace("body.", "body._orig_mod.", 1): t for name, t in w.items()},
    "sharded": lambda w: prefixed(w, "_fsdp_wrapped_module."),
    "EDSR-PyTorch": lambda w: prefixed(w, "model."),
    "two prefixes": lambda w: prefixed(w, "net_g.module."),
    "Lightning": lambda w: {"state_dict": prefixed(w, "net_g."), "epoch": 3, "callbacks": {}},
    "Lightning with a loss": lambda w: {"state_dict": {**prefixed(w, "model."), "loss.w": torch.zeros(1)}},
    "two networks": lambda w: {**prefixed(w, "netG."), **prefixed(zeros(w), "netD.")},
    "average beside": lambda w: {**prefixed(zeros(w), "model."), **prefixed(w, "ema_model.")},
    "AveragedModel": lambda w: {**prefixed(w, "module."), "n_averaged": torch.tensor(5)},
    "model_state_dict": lambda w: {"model_state_dict": w, "optimizer_state_dict": {}},
    "net": lambda w: {"net": w, "epoch": 1},
    "netG and netD": lambda w: {"netG": w, "netD": zeros(w)},
    "ema": lambda w: {"model": zeros(w), "ema": w},
    "ema without weights": lambda w: {"model": w, "ema": {"decay": 0.999}},
    "params-ema": lambda w: {"params": zeros(w), "params-ema": w},
    "generator": lambda w: {"generator": w, "discriminator": zeros(w)},
    "nested": lambda w: {"model": {"state_dict": prefixed(w, "module.")}, "iteration": 10},
    "weights with an epoch": lambda w: {**w, "epoch": 3, "name": "edsr", "best": None},
}


@pytest.mark.parametrize("wrap", CONTAINERS.values(), ids=CONTAINERS)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_the_network_is_found(network, weights, tmp_path, wrap, zipped):
    torch.save(wrap(weights), tmp_path / "net.pt", _use_new_zipfile_serialization=zipped)
    images = torch.rand(1, 3, 9, 9)
    assert torch.equal(load_model(tmp_path / "net.pt")(images), network(images))


BESIDE = {
    "numpy scalar": np.float64(33.1),
    "numpy numbers": np.arange(5.0),
    "numpy type": np.dtype(np.float32),
    "defaultdict": collections.defaultdict(int, a=1),
    "defaultdict of lists": collections.defaultdict(list, a=[1]),
    "Namespace": argparse.Namespace(lr=1e-4, name="x", betas=(0.9, 0.99)),
    "Lightning's arguments": AttributeDict(lr=1e-4),
    "path": pathlib.Path("runs"),
    "date": datetime.datetime(2026, 1, 2),
    "counter": collections.Counter([1, 1]),
    "optimizer": torch.optim.Adam([torch.nn.Parameter(torch.ones(3))]).state_dict(),
    "set": {1, 2},
}


@pytest.mark.parametrize("value", BESIDE.values(), ids=BESIDE)
def test_values_beside_the_weights_do_not_matter(network, weights, tmp_path, value):
    torch.save({"state_dict": weights, "beside": value}, tmp_path / "net.pt")
    images = torch.rand(1, 3, 9, 9)
    assert torch.equal(load_model(tmp_path / "net.pt")(images), network(images))


def test_edsr_without_stored_mean_shifts(network, weights, tmp_path):
    torch.save({name: tensor for name, tensor in weights.items() if "mean" not in name}, tmp_path / "net.pt")
    images = torch.rand(1, 3, 9, 9)
    assert (load_model(tmp_path / "net.pt")(images) - network(images)).abs().max() * 255 < 1e-3


def test_published_edsr_is_the_same_without_its_mean_shifts(shared, tmp_path):
    path = shared / "weights" / "edsr" / "edsr_r8f64_x2.pt"
    weights = torch.load(path, weights_only=True)
    torch.save({name: tensor for name, tensor in weights.items() if "mean" not in name}, tmp_path / "net.pt")
    images = torch.rand(1, 3, 9, 9)
    with torch.inference_mode():
        assert torch.equal(load_model(tmp_path / "net.pt")(images), load_model(path)(images))


def test_keys_are_listed_where_there_are_no_weights(weights, tmp_path, complaint):
    torch.save({"my_weights": weights, "epoch": 3, "optimizer": {"state": {}}}, tmp_path / "net.pt")
    message = complaint(tmp_path / "net.pt")
    assert "no state dict" in message
    assert "only 'my_weights' (OrderedDict), 'epoch' (int), 'optimizer' (dict); save" in message


def test_names_are_listed_where_the_network_is_unknown(tmp_path, complaint):
    torch.save({"state_dict": {"first.odd": torch.ones(3), "second.odd": torch.ones(3)}}, tmp_path / "net.pt")
    assert "first.odd, second.odd" in complaint(tmp_path / "net.pt")


def test_a_part_of_an_unknown_network_is_not_the_network(weights, tmp_path, complaint):
    """What stands beside a prefix must be known to belong to the training."""
    torch.save({**prefixed(weights, "net."), "refine.weight": torch.ones(3, 3, 3, 3)}, tmp_path / "net.pt")
    assert "weights of these names (net." in complaint(tmp_path / "net.pt")


@pytest.mark.parametrize("name", [1, b"a", (1,), None, 2.5])
@pytest.mark.parametrize("alone", [True, False])
def test_names_that_are_no_texts(weights, tmp_path, complaint, name, alone):
    torch.save({name: torch.ones(3)} if alone else {**weights, name: torch.ones(3)}, tmp_path / "net.pt")
    assert f"the name of a weight is {name!r}, not a text" in complaint(tmp_path / "net.pt")


def test_containers_in_a_circle_and_endless_prefixes(tmp_path):
    circle = {"epoch": 3}
    circle["model"] = circle["state_dict"] = {"net": circle, "w": torch.ones(1)}
    assert list(weights_in(circle, tmp_path)) == ["w"]
    start = time.perf_counter()
    long = weights_in({"module." * 100_000 + "net." * 100_000 + "w": torch.ones(1)}, tmp_path)
    assert len(list(spellings(long))) < 100
    assert time.perf_counter() - start < 5
