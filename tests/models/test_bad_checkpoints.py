"""Each way in which a checkpoint can be wrong has its own error that says what to do."""

import collections
import contextlib
import pickle
import random

import pytest
import torch
from safetensors.torch import save_file

from srquant.errors import CheckpointError
from srquant.models.load import build, load_model


@pytest.fixture
def weights():
    return build("edsr", {"blocks": 1, "features": 4}).module.state_dict()


def refused(path, message, scale=None):
    with pytest.raises(CheckpointError, match=message) as caught:
        load_model(path, scale)
    assert str(path) in str(caught.value)


def refused_weights(weights, tmp_path, message, scale=None):
    torch.save(weights, tmp_path / "net.pt")
    refused(tmp_path / "net.pt", message, scale)


def test_missing_file(tmp_path):
    refused(tmp_path / "none.pt", "no such file")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_pickle_that_runs_code(zipped, tmp_path):
    torch.save({"a": collections.Counter, "b": eval}, tmp_path / "evil.pt", _use_new_zipfile_serialization=zipped)
    refused(tmp_path / "evil.pt", "run code: .*(eval|Counter).*state_dict")


def test_all_blocked_globals_are_named(tmp_path):
    torch.save({"a": collections.ChainMap, "b": eval}, tmp_path / "evil.pt")
    refused(tmp_path / "evil.pt", r"builtins\.eval, collections\.ChainMap")


def test_whole_pickled_module(tmp_path):
    torch.save(build("edsr", {"blocks": 1, "features": 4}), tmp_path / "module.pt")
    refused(tmp_path / "module.pt", "srquant.models.network.Network")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("kept", [0, 1, 7, 64, 0.5, 0.9, 0.999])
def test_truncated(zipped, kept, weights, tmp_path):
    torch.save(weights, tmp_path / "net.pt", _use_new_zipfile_serialization=zipped)
    data = (tmp_path / "net.pt").read_bytes()
    (tmp_path / "net.pt").write_bytes(data[: kept if isinstance(kept, int) else int(kept * len(data))])
    refused(tmp_path / "net.pt", "truncated")


@pytest.mark.parametrize("kept", [0, 5, 100, 0.5, 0.99])
def test_truncated_safetensors(kept, weights, tmp_path):
    save_file(weights, tmp_path / "net.safetensors")
    data = (tmp_path / "net.safetensors").read_bytes()
    (tmp_path / "net.safetensors").write_bytes(data[: kept if isinstance(kept, int) else int(kept * len(data))])
    refused(tmp_path / "net.safetensors", "truncated")


@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
def test_damaged_bytes_are_refused_or_harmless(form, weights, tmp_path):
    path = tmp_path / "net.pt"
    if form == "safetensors":
        save_file(weights, path)
    else:
        torch.save(weights, path, _use_new_zipfile_serialization=form == "zip")
    data, generator = path.read_bytes(), random.Random(0)
    for _ in range(100):
        damaged = bytearray(data)
        damaged[generator.randrange(min(len(data), 3000))] = generator.randrange(256)
        path.write_bytes(damaged)
        with contextlib.suppress(CheckpointError):
            load_model(path)


@pytest.mark.parametrize("content", [b"not a checkpoint", b"\x89PNG\r\n\x1a\n" + bytes(100), pickle.dumps([1, 2])])
def test_something_else(content, tmp_path):
    (tmp_path / "net.pt").write_bytes(content)
    refused(tmp_path / "net.pt", "not a PyTorch checkpoint")


@pytest.mark.parametrize("content", [{}, [1, 2], {"params": {}}, {"epoch": 3}, torch.ones(3)])
def test_no_state_dict(content, tmp_path):
    refused_weights(content, tmp_path, "no state dict")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_not_finite(value, weights, tmp_path):
    weights["body.0.body.2.weight"][1, 2, 0, 0] = value
    refused_weights(weights, tmp_path, r"body\.0\.body\.2\.weight contains NaN or infinity")


def test_missing_weight(weights, tmp_path):
    del weights["body.1.bias"]
    refused_weights(weights, tmp_path, r"misses the weights body\.1\.bias")


def test_unexpected_weight(weights, tmp_path):
    weights["body.0.attention.weight"] = torch.ones(1)
    refused_weights(weights, tmp_path, r"has the unknown weights body\.0\.attention\.weight")


def test_other_shape(weights, tmp_path):
    weights["body.0.body.0.weight"] = torch.ones(4, 4, 5, 5)
    refused_weights(weights, tmp_path, r"body\.0\.body\.0\.weight \(4, 4, 5, 5\) not \(4, 4, 3, 3\)")


def test_scalar_instead_of_weight(weights, tmp_path):
    weights["head.0.weight"] = torch.tensor(1.0)
    refused_weights(weights, tmp_path, "can't be inferred")


def test_scale_that_no_upsampler_has(weights, tmp_path):
    weights["tail.0.0.weight"], weights["tail.0.0.bias"] = torch.ones(100, 4, 3, 3), torch.ones(100)
    refused_weights(weights, tmp_path, "looks like edsr, but edsr can't be built.*'scale': 5")


def test_other_scale_wanted(weights, tmp_path):
    refused_weights(weights, tmp_path, "upscales by 2, not 4", scale=4)


def test_mean_shift_that_is_more_than_a_shift(weights, tmp_path):
    weights["sub_mean.weight"] *= 2
    refused_weights(weights, tmp_path, r"sub_mean\.weight is not the identity")
