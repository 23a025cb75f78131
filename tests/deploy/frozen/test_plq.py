"""Layers on piecewise linear grids: frozen, in a file, in engines."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from srquant.data.calibration import CalibrationSet
from srquant.data.images import read_rgb
from srquant.deploy.export.pair_saturation import has_vnni
from srquant.deploy.file.save_load import checksum, load, save
from srquant.deploy.frozen.freeze import check_spec, freeze
from srquant.deploy.openvino.model import to_openvino
from srquant.deploy.openvino.precision import layer_precisions
from srquant.errors import PolicyError, QuantizedFileError
from srquant.grids.range_rules import minmax, symmetric_mse
from srquant.insertion.collect_ranges import Collection, activation_bounds
from srquant.insertion.insert_quantizers import insert_quantizers
from srquant.insertion.plan import resolve
from srquant.insertion.policy import LayerBits, Policy
from srquant.insertion.quantized_model import Origin, QuantizedModel
from srquant.insertion.settle_on_lattice import settle
from srquant.measure.cost.codes_used import codes_used
from srquant.measure.cost.layer_summaries import layer_summaries
from srquant.methods.outlier_aware.method import OutlierAware, quantize
from srquant.models.load import build, load_model
from srquant.quantizers.layers import quant_layers
from srquant.quantizers.module_spec import LayerSpec
from srquant.quantizers.plq import PLQSpec, PLQuantizer
from srquant.quantizers.stored import Fields, StoredTensors
from srquant.upscale.engines.onnxruntime_engine import OnnxRuntimeEngine
from srquant.upscale.engines.openvino_engine import OpenVINOEngine

NETWORKS = {
    "edsr": {"blocks": 1, "features": 8},
    "carn": {"features": 8, "groups": 4, "shared": True},
    "swinir": {"depths": [2], "heads": 2, "features": 8, "hidden": 16},
}
LAST_ROUNDING = 2e-7
"""Of a picture in [0, 1]: colour shift and value range may be applied in another order."""

engines = pytest.mark.parametrize("engine", [OpenVINOEngine, OnnxRuntimeEngine])
budgets = pytest.mark.parametrize("budget", ["paper", "code"])
skips = pytest.mark.parametrize("skip_bits", [None, 8], ids=["float skip", "8-bit skip"])


@pytest.fixture
def quantized() -> Callable[..., QuantizedModel]:
    def make(architecture: str, bits: int = 4, budget: str = "paper", **policy) -> QuantizedModel:
        network = build(architecture, NETWORKS[architecture]).eval()
        policy = Policy(LayerBits(4, bits), **policy)
        plan = resolve(network, policy)
        bounds = activation_bounds(network, plan, [torch.rand(2, 3, 16, 16)], Collection(minmax, None))
        student = insert_quantizers(network, plan, bounds, symmetric_mse)
        for layer in quant_layers(student).values():
            grid = layer.input_quantizer
            if grid.bits < 8:
                layer.input_quantizer = PLQuantizer(grid.lower, grid.upper * 0.4, grid.upper, bits, budget)
        settle(student)
        return QuantizedModel(student, policy, Origin("outlier-aware"))

    return make


@pytest.fixture
def picture() -> Tensor:
    return torch.rand(2, 3, 20, 17, generator=torch.Generator().manual_seed(3))


def upscaled(model: QuantizedModel, picture: Tensor) -> Tensor:
    with torch.no_grad():
        result: Tensor = model.network(picture)
    return result


@pytest.mark.parametrize("architecture", ["edsr", "carn"])
@pytest.mark.parametrize("bits", [3, 4, 6])
@budgets
def test_frozen_network_computes_the_same_picture(quantized, picture, architecture, bits, budget):
    model = quantized(architecture, bits, budget)
    assert torch.equal(upscaled(model, picture), upscaled(freeze(model), picture))


@engines
@budgets
@skips
@pytest.mark.parametrize("bits", [4, 6])
def test_engines_compute_the_same_picture(quantized, picture, engine, bits, budget, skip_bits):
    frozen = freeze(quantized("edsr", bits, budget, skip_bits=skip_bits))
    ours = torch.from_numpy(engine(frozen.network, 1)(picture.numpy()))
    torch.testing.assert_close(ours, upscaled(frozen, picture), rtol=0, atol=LAST_ROUNDING)


@pytest.mark.parametrize("architecture", ["edsr", "swinir"])
def test_file_gives_the_same_picture(quantized, picture, tmp_path: Path, architecture):
    frozen = freeze(quantized(architecture))
    save(frozen, tmp_path / "model.safetensors")
    assert torch.equal(upscaled(load(tmp_path / "model.safetensors"), picture), upscaled(frozen, picture))


@pytest.mark.skipif(not has_vnni(), reason="layers that would saturate run in float")
def test_convolutions_run_as_int8(quantized):
    frozen = freeze(quantized("edsr"))
    assert {layer.precision for layer in layer_precisions(to_openvino(frozen.network))} == {"int8"}


@pytest.mark.parametrize(("budget", "codes"), [("paper", 16), ("code", 32)])
def test_what_it_says_it_spends(quantized, picture, budget, codes):
    frozen = freeze(quantized("edsr", 4, budget))
    piecewise = [layer for layer in codes_used(frozen, [picture]) if layer.activation_bits < 8]
    assert {layer.activation_bits for layer in layer_summaries(frozen.network)} == {4, 8}
    assert {layer.activation_bits for layer in piecewise} == {4}
    assert {layer.piecewise_codes for layer in layer_summaries(frozen.network)} == {codes, None}
    most = max(layer.activation_codes[0] for layer in piecewise)
    assert codes // 2 < most <= codes
    assert any(layer.exceeds_bits for layer in piecewise) == (budget == "code")


def test_empty_regions_are_refused(quantized):
    spec = freeze(quantized("edsr")).specs["body.0.body.0"]
    assert isinstance(spec, LayerSpec)
    assert isinstance(spec.grid, PLQSpec)
    spec.grid.edges[1] = spec.grid.edges[0]
    with pytest.raises(PolicyError, match=r"body.0.*width of a region"):
        check_spec("body.0", spec)


@pytest.mark.parametrize(
    ("levels", "channels"),
    [([4], 8), ([4, 8, 1], 8), ([128, 256, 128], 8), ([4, 8, 4], None)],
    ids=["one region", "one point", "too many points", "of a sum"],
)
def test_impossible_regions_in_a_header(levels, channels):
    tensors = {"bounds": torch.tensor([-1.0, 1.0]), "edges": torch.tensor([-1.0, -0.5, 0.5, 1.0])}
    good = PLQSpec.read(Fields("it", {"bits": 4, "region_levels": [4, 8, 4]}), StoredTensors(dict(tensors)), 8)
    assert good.settings() == {"bits": 4, "region_levels": [4, 8, 4]}
    with pytest.raises(QuantizedFileError, match=r"need (2 or 3 regions|at least 2|another kind of grid)"):
        PLQSpec.read(Fields("it", {"bits": 4, "region_levels": levels}), StoredTensors(dict(tensors)), channels)


def test_edges_must_be_in_the_file(quantized, tmp_path: Path):
    path = tmp_path / "model.safetensors"
    save(freeze(quantized("edsr")), path)
    with safe_open(path, "pt") as file:
        header = file.metadata()["srquant"]
    tensors = load_file(path)
    del tensors["body.0.body.0.edges"], tensors["sha256"]
    save_file({**tensors, "sha256": checksum(header, tensors)}, path, {"srquant": header})
    with pytest.raises(QuantizedFileError, match=r"body.0.body.0.edges' is missing"):
        load(path)


@pytest.mark.parametrize("weights", ["edsr/edsr_r8f64_x2.pt", "carn/carn_x2_only.pth"], ids=["edsr", "carn"])
def test_published_networks_have_one_picture_in_all_engines(shared, weights):
    pictures = shared / "data" / "Set5" / "LR_bicubic" / "X2"
    network, config = load_model(shared / "weights" / weights), OutlierAware(finetune="none", weights="omse")
    frozen = freeze(quantize(network, CalibrationSet(pictures, 5, patch=48), Policy(), config)).network
    crop = read_rgb(pictures / "butterflyx2.png")[40:72, 40:72].astype(np.float32) / 255
    images = crop.transpose(2, 0, 1)[None]
    with torch.no_grad():
        expected = frozen(torch.from_numpy(images.copy())).numpy()
    for engine in (OpenVINOEngine, OnnxRuntimeEngine):
        difference = np.abs(engine(frozen, 1)(images) - expected)
        assert (difference > 0.5 / 255).mean() < 1e-3
        assert difference.max() < 2 / 255
