"""Layers with dynamic ranges: frozen, in a file, in engines."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from srquant.data.benchmark import BenchmarkSet
from srquant.data.calibration import CalibrationSet
from srquant.deploy.file.module_records import read_module
from srquant.deploy.file.save_load import load, save
from srquant.deploy.frozen.dynamic import DynamicLayer, DynamicPoints
from srquant.deploy.frozen.freeze import freeze
from srquant.deploy.frozen.grid import FrozenGrid
from srquant.deploy.openvino.model import to_openvino
from srquant.deploy.openvino.precision import layer_precisions
from srquant.errors import QuantizedFileError
from srquant.grids.range_rules import minmax, symmetric_mse
from srquant.insertion.collect_ranges import Collection, activation_bounds
from srquant.insertion.insert_quantizers import insert_quantizers
from srquant.insertion.plan import resolve
from srquant.insertion.policy import LayerBits, Policy
from srquant.insertion.quantized_model import Origin, QuantizedModel
from srquant.insertion.settle_on_lattice import settle
from srquant.measure.cost.layer_summaries import layer_summaries
from srquant.measure.quality.metrics import psnr_y
from srquant.measure.speed.exported_models import precision_of
from srquant.methods.gba import method as gba
from srquant.models.blocks.conv_geometry import ConvGeometry
from srquant.models.load import build, load_model
from srquant.models.network import Facts, Network
from srquant.quantizers.dan import DANQuantizer
from srquant.quantizers.layers import QuantLinear, quant_layers
from srquant.quantizers.stored import StoredTensors
from srquant.upscale.engines.onnxruntime_engine import OnnxRuntimeEngine
from srquant.upscale.engines.openvino_engine import OpenVINOEngine
from srquant.upscale.engines.protocol import Engine
from srquant.upscale.engines.torch_engine import TorchEngine
from srquant.upscale.tiles.tiling import measure_tiling
from srquant.upscale.tiles.upscale_tiles import upscale_array

ENGINES = pytest.mark.parametrize("engine", [OpenVINOEngine, OnnxRuntimeEngine])
NETWORKS = {
    "edsr": {"blocks": 1, "features": 8},
    "carn": {"features": 8, "groups": 4, "shared": True},
    "swinir": {"depths": [2], "heads": 2, "features": 8, "hidden": 16},
}


@pytest.fixture
def quantized() -> Callable[..., QuantizedModel]:
    def make(
        architecture: str, bits: int = 4, symmetric: bool = False, skip_bits: Literal[8] | None = None
    ) -> QuantizedModel:
        network = build(architecture, NETWORKS[architecture]).eval()
        policy = Policy(LayerBits(bits, bits), skip_bits=skip_bits, symmetric_weights=symmetric)
        plan = resolve(network, policy)
        bounds = activation_bounds(network, plan, [torch.rand(2, 3, 16, 16)], Collection(minmax, None))
        student = insert_quantizers(network, plan, bounds, symmetric_mse)
        for layer in quant_layers(student).values():
            axis = -1 if isinstance(layer, QuantLinear) else 1
            layer.input_quantizer = DANQuantizer(layer.input_quantizer.bits, axis)
            layer.input_quantizer.upper.data.fill_(0.93)
        settle(student)
        return QuantizedModel(student, policy, Origin("gba"))

    return make


@pytest.fixture
def picture() -> Tensor:
    return torch.rand(2, 3, 20, 17, generator=torch.Generator().manual_seed(3))


def upscaled(model: QuantizedModel, picture: Tensor) -> Tensor:
    with torch.no_grad():
        result: Tensor = model.network(picture)
    return result


@pytest.mark.parametrize("architecture", NETWORKS)
@pytest.mark.parametrize("symmetric", [True, False])
def test_frozen_computes_the_same_bits(quantized, picture, architecture: str, symmetric: bool):
    model = quantized(architecture, symmetric=symmetric)
    assert torch.equal(upscaled(freeze(model), picture), upscaled(model, picture))


@pytest.mark.parametrize("architecture", NETWORKS)
def test_file_holds_integers_and_says_dynamic(quantized, picture, tmp_path: Path, architecture: str):
    model = freeze(quantized(architecture))
    save(model, tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    assert torch.equal(upscaled(loaded, picture), upscaled(model, picture))
    assert {layer.ranges for layer in layer_summaries(loaded.network) if layer.name in model.specs} == {"dynamic"}
    layers = [module for module in loaded.network.modules() if isinstance(module, DynamicLayer)]
    assert len(layers) == len(model.specs)
    assert all(layer.weight.dtype == torch.int8 for layer in layers)


class OneLayer(nn.Module):
    """A layer with dynamic ranges that passes its grid points on."""

    def __init__(self, bits: int, linear: bool, limits: torch.Tensor | None = None) -> None:
        super().__init__()
        grid, window = (
            FrozenGrid(torch.tensor(-0.9), torch.tensor(1.0), 1 << bits),
            ConvGeometry((1, 1), (0, 0), (1, 1), 1),
        )
        eye = torch.eye(3, dtype=torch.int8)
        weight = eye if linear else eye[:, :, None, None]
        points = DynamicPoints(grid, -1 if linear else 1, limits=limits)
        self.layer = DynamicLayer(points, weight, torch.ones(3), None, 8, None if linear else window)
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layer(x.transpose(1, 3)).transpose(1, 3) if self.linear else self.layer(x)
        return result


@ENGINES
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("linear", [False, True])
def test_engines_find_the_same_grid_points(engine, bits: int, linear: bool):
    """Of all values, at most one in a thousand lies so close to a tie that it is rounded to the other side."""
    network = Network(OneLayer(bits, linear), Facts("custom", 1, 1.0, (), ())).eval()
    x = 200 * torch.rand(2, 3, 30, 40) - 50
    x[1, 2] = 7.0
    with torch.no_grad():
        expected = network(x)
    found = torch.from_numpy(engine(network, threads=1)(x.numpy()))
    step = 200 / (2**bits - 1)
    assert ((found - expected).abs() > 1e-3 * step).float().mean() < 1e-3
    assert (found - expected).abs().max() <= 1.01 * step
    assert torch.allclose(found[1, 2], x[1, 2])


@ENGINES
@pytest.mark.parametrize("linear", [False, True])
def test_engines_clip_at_the_same_limits(engine, linear: bool):
    network = Network(OneLayer(8, linear, torch.tensor([-10.0, 20.0])), Facts("custom", 1, 1.0, (), ())).eval()
    x = 200 * torch.rand(2, 3, 30, 40) - 50
    with torch.no_grad():
        expected = network(x)
    found = torch.from_numpy(engine(network, threads=1)(x.numpy()))
    assert expected.max() == pytest.approx(20)
    assert (found - expected).abs().max() <= 1.01 * 30 / 255


@ENGINES
@pytest.mark.parametrize(("architecture", "skip_bits"), [("edsr", None), ("edsr", 8), ("carn", None), ("swinir", None)])
def test_engines_run_whole_networks(quantized, picture, engine, architecture: str, skip_bits: Literal[8] | None):
    """At 8 bits, a value that is rounded to the other side hardly changes the picture."""
    model = freeze(quantized(architecture, bits=8, skip_bits=skip_bits))
    expected = upscaled(model, picture)
    found = engine(model.network, threads=1)(picture.numpy())
    assert np.abs(found - expected.numpy()).mean() < 2e-3 * expected.std()


def test_engines_agree_in_psnr(shared: Path):
    """Sums in float depend on their order, and a value on the other side of a tie makes another picture.

    Single pictures differ by up to 0.05 dB in either direction, their mean over Set5 by less than 0.01.
    """
    network = load_model(shared / "weights" / "edsr" / "edsr_r8f64_x2.pt")
    calibration = CalibrationSet(shared / "data" / "Set5" / "LR_bicubic" / "X2", 5, patch=48)
    model = gba.quantize(network, calibration, Policy(), gba.GBA(mixed="none", finetune=False))
    frozen = freeze(model).network
    expected, found = (mean_psnr(engine(frozen), shared) for engine in (TorchEngine, OpenVINOEngine))
    assert found == pytest.approx(expected, abs=0.02)
    assert expected > 37


def mean_psnr(engine: Engine, shared: Path) -> float:
    samples = list(BenchmarkSet(shared / "data" / "Set5", 2))
    return sum(psnr_y(upscale_array(engine, sample.low, 1024), sample.high, 2) for sample in samples) / len(samples)


def test_layers_run_in_float_and_are_reported_so(quantized):
    model = freeze(quantized("edsr"))
    precisions = layer_precisions(to_openvino(model.network))
    assert [layer.name for layer in precisions] == [layer.name for layer in layer_summaries(model.network)]
    assert {layer.precision for layer in precisions} == {"float32"}
    assert precision_of(model.network) == "float32"


def test_tiles_are_not_exact(quantized):
    assert measure_tiling(build("edsr", NETWORKS["edsr"]).eval()).exact
    assert not measure_tiling(freeze(quantized("edsr")).network).exact


def test_a_normalised_sum_is_refused():
    """A sum has no channels that could be normalised."""
    network, tensors = build("edsr", NETWORKS["edsr"]), StoredTensors({"body.0.add.bounds": torch.tensor([-1.0, 1.0])})
    record = {"name": "body.0.add", "kind": "sum", "grid": {"kind": "dan", "bits": 8}, "scale": 1.0}
    with pytest.raises(QuantizedFileError, match=r"'body.0.add'.*only inputs of layers are normalised"):
        read_module(record, dict(network.module.named_modules()), tensors)
