"""Every method, from checkpoint to picture: quantize, evaluate, export, upscale."""

import json

import pytest
import torch

from srquant.methods.registry import METHODS
from srquant.models.architectures.attention.swinir import SwinIR
from srquant.models.load import build

QUICK = {
    "ptq4sr": ("iterations=2",),
    "adabm": ("epochs=3",),
    "2dquant": ("iterations=2", "batch=2", "crops=1"),
    "outlier-aware": ("epochs=3",),
    "gba": ("epochs=1",),
    "distill": ("steps=2",),
    "auto": ("effort=quick",),
}
"""Settings that only shorten the learning."""

CASES = [
    *((method, network) for network in ("edsr", "carn") for method in METHODS),
    *((method, "swinir") for method in ("2dquant", "gba", "distill")),
]


@pytest.fixture(scope="session")
def checkpoints(files, tmp_path_factory):
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("checkpoints")
    torch.save(SwinIR((2,), heads=2, features=8, scale=2, window=4, hidden=8).state_dict(), folder / "swinir.pt")
    torch.save(build("carn", {"features": 8, "scale": 2}).module.state_dict(), folder / "carn.pt")
    return {"edsr": files / "edsr.pt", "carn": folder / "carn.pt", "swinir": folder / "swinir.pt"}


@pytest.mark.parametrize(("method", "network"), CASES)
def test_from_checkpoint_to_picture(run, files, calibration, checkpoints, tmp_path, method, network):
    def done(*arguments):
        result = run(*arguments)
        assert result.exit_code == 0, result.output
        return result

    model, settings = tmp_path / "model.safetensors", [part for s in QUICK.get(method, ()) for part in ("--set", s)]
    done("quantize", checkpoints[network], "--method", method, *settings, *calibration, "-o", model)
    scores = {}
    for engine in ("torch", "openvino"):
        told = tmp_path / f"{engine}.json"
        done("evaluate", model, "--data", files / "Tiny", "--engine", engine, "--json", told)
        scores[engine] = json.loads(told.read_text())["psnr_y"]
    assert scores["torch"] == pytest.approx(scores["openvino"], abs=0.01)
    done("export", model, "-o", tmp_path / "model.xml")
    assert list(tmp_path.glob("model*.xml"))
    said = done("upscale", model, files / "picture.png", "-o", tmp_path / "large.png").stderr
    assert ("the network sees farther" in said) == (method == "gba" or network == "swinir")
    assert (tmp_path / "large.png").stat().st_size > 1000
