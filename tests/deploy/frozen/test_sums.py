"""Sums of grid points and grids with a zero in the middle: trained networks give one picture in every engine."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from srquant.deploy.file.save_load import load, save
from srquant.deploy.frozen.freeze import FrozenModel, freeze
from srquant.deploy.frozen.sums import FrozenAddends
from srquant.distillation.loop import adam
from srquant.errors import QuantizedFileError
from srquant.insertion.policy import LayerBits, Policy
from srquant.insertion.quantized_model import QuantizedModel
from srquant.methods.options import configure
from srquant.methods.trained_registry import TRAINED
from srquant.models.load import build
from srquant.models.network import Network
from srquant.upscale.engines.onnxruntime_engine import OnnxRuntimeEngine
from srquant.upscale.engines.openvino_engine import OpenVINOEngine
from srquant.upscale.engines.torch_engine import TorchEngine

METHODS = {"dorefa": [], "odm": [], "pams": [], "ddtb": ["gates=false"]}
LAST_BIT = 1e-6
"""Of a picture in [0, 1]: the float rounding of its last operation."""
ONE_CODE = 0.1
"""Share of the picture that one value changes which lies closer to a tie than an engine's rounding error."""


def trained(method: str, bits: int) -> QuantizedModel:
    network = build("edsr", {"blocks": 2, "features": 8, "scale": 2})
    chosen, low = TRAINED[method], torch.rand(3, 3, 12, 12)
    student = chosen.prepare(
        network, [low], Policy(LayerBits(bits, bits)), configure(chosen.config, METHODS[method]), 3
    )
    optimizer = adam(student.rates())
    for step in range(3):
        optimizer.zero_grad()
        student(low, torch.nn.functional.interpolate(low, scale_factor=2), step).backward()
        student.after_backward()
        optimizer.step()
        student.after_step(step)
    result = student.result()
    assert isinstance(result, QuantizedModel)
    return result


def clear_picture(network: Network) -> torch.Tensor:
    """A random 8-bit picture without values that lie halfway between two points of the first layer's grid."""
    grid, colour = network.module.head[0].grid, network.module.sub_mean.bias.double()
    grey = torch.arange(256.0).double()
    position = (grey[:, None] + colour - grid.lower.double()) / grid.step
    clear = grey[((position.frac().abs() - 0.5).abs() > 1e-2).all(1)]
    return (clear[torch.randint(len(clear), (1, 3, 33, 37))] / 255).float()


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("method", METHODS)
def test_a_trained_network_gives_one_picture_in_every_engine(method: str, bits: int, tmp_path: Path) -> None:
    model = trained(method, bits)
    save(freeze(model), tmp_path / "model.safetensors")
    network = load(tmp_path / "model.safetensors").network
    images = clear_picture(network)
    with torch.no_grad():
        wanted = model.network(images).numpy()
    for engine in (TorchEngine, OpenVINOEngine, OnnxRuntimeEngine):
        differs = np.abs(engine(network)(images.numpy()) - wanted) > LAST_BIT
        assert differs.mean() < ONE_CODE


@pytest.fixture(scope="module")
def pams() -> FrozenModel:
    return freeze(trained("pams", 4))


def test_addends_are_put_on_their_grids(pams: FrozenModel) -> None:
    add = pams.network.module.get_submodule("body.1.add")
    assert isinstance(add, FrozenAddends)
    grids = add.left.grid, add.right.grid
    assert [grid.levels for grid in grids] == [15, 15]
    left, right = torch.randn(2, 1, 8, 4, 4) * 20
    total = add(left, right)
    parts = [(x / g.step).round().clamp(-7, 7) * g.step for x, g in zip((left, right), grids, strict=True)]
    assert torch.equal(total, parts[0] + parts[1])


def header_of(path: Path) -> dict:
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["srquant"])


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"narrow": 1}, "need true or false"),
        ({"region_levels": [4, 4]}, "unknown fields"),
        ({"kind": "plq"}, "only inputs of layers have pieces"),
        ({"kind": "nonsense"}, "'nonsense', need one of uniform"),
        ({"kind": "ddtb", "settings": {}}, "settings of such a quantizer"),
    ],
)
def test_impossible_grids_of_an_addend_are_refused(
    pams: FrozenModel, edited, tmp_path: Path, change: dict, what: str
) -> None:
    def alter(header: dict, tensors: dict) -> None:
        next(record for record in header["modules"] if record["kind"] == "addends")["left"].update(change)

    save(pams, tmp_path / "pams.safetensors")
    edited(tmp_path / "pams.safetensors", tmp_path / "damaged.safetensors", alter)
    with pytest.raises(QuantizedFileError, match=what):
        load(tmp_path / "damaged.safetensors")


def test_the_header_says_which_grids_are_narrow(pams: FrozenModel, tmp_path: Path) -> None:
    save(pams, tmp_path / "pams.safetensors")
    records = {record["name"]: record for record in header_of(tmp_path / "pams.safetensors")["modules"]}
    narrow = {"kind": "uniform", "bits": 4, "narrow": True}
    assert records["body.0.add"] == {
        "name": "body.0.add",
        "kind": "addends",
        "left": narrow,
        "right": narrow,
        "scale": 1.0,
    }
    assert all(record["grid"]["narrow"] for record in records.values() if record["kind"] == "layer")
