"""Networks in the layouts of spandrel, reduced and with random weights: from a file to pictures of integer networks."""

import sys

import numpy as np
import pytest
import pyvips
import torch

from srquant.models.load import load_model
from srquant.models.spandrel import import_spandrel

pytestmark = pytest.mark.filterwarnings("ignore:torch.meshgrid", "ignore:`isinstance")

HAT = {
    "window_size": 8,
    "img_size": 16,
    "embed_dim": 12,
    "depths": [1],
    "num_heads": [2],
    "mlp_ratio": 2,
    "compress_ratio": 3,
    "squeeze_factor": 4,
    "upscale": 2,
    "upsampler": "pixelshuffle",
}


def esrgan() -> torch.nn.Module:
    from spandrel.architectures.ESRGAN.__arch.RRDB import RRDBNet

    return RRDBNet(in_nc=3, out_nc=3, num_filters=16, num_blocks=1, scale=2)


def hat() -> torch.nn.Module:
    from spandrel.architectures.HAT.__arch.HAT import HAT as Module

    return Module(**HAT)


def span() -> torch.nn.Module:
    from spandrel.architectures.SPAN.__arch.span import SPAN

    return SPAN(num_in_ch=3, num_out_ch=3, feature_channels=16, upscale=2)


NETWORKS = {"esrgan": esrgan, "hat": hat, "span": span}


@pytest.fixture(params=NETWORKS)
def network(request, tmp_path):
    """A file, and the network as spandrel computes it."""
    try:
        spandrel = import_spandrel()
    except ImportError as error:
        pytest.skip(f"needs the package spandrel ({error}): pip install 'srquant[spandrel]'")
    torch.manual_seed(0)
    weights = {name: tensor.clone() for name, tensor in NETWORKS[request.param]().eval().state_dict().items()}
    torch.save(weights, tmp_path / "network.pth")
    return tmp_path / "network.pth", spandrel.ModelLoader(device="cpu").load_from_state_dict(weights).model.eval()


@torch.no_grad()
def test_from_a_file_to_a_picture(network, run, read, files, tmp_path, monkeypatch):
    path, theirs = network
    images = torch.rand(1, 3, 16, 24)
    assert torch.allclose(load_model(path)(images), theirs(images.clone()), atol=1e-5)

    quantized, exported = tmp_path / "int8.safetensors", tmp_path / "int8.xml"
    quantize = ("quantize", path, "--calibration", files / "calibration", "-w", 8, "-a", 8, "--method", "minmax")
    assert run(*quantize, "--count", 2, "--patch", 16, "-o", quantized).exit_code == 0
    monkeypatch.setitem(sys.modules, "spandrel", None)  # from here on it isn't installed
    assert read("info", quantized)["scale"] == 2
    assert run("export", quantized, "-o", exported).exit_code == 0
    pictures = [upscaled(run, model, files / "picture.png", tmp_path) for model in (quantized, exported)]
    assert (np.abs(pictures[0].astype(int) - pictures[1]) <= 1).mean() >= 0.999


def upscaled(run, model, picture, folder) -> np.ndarray:
    target = folder / f"{model.suffix[1:]}.png"
    result = run("upscale", model, picture, "-o", target)
    assert result.exit_code == 0, result.output
    return pyvips.Image.new_from_file(str(target)).numpy()
