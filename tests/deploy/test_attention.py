"""Networks with window attention: exports of any size, and products of activations on integers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import openvino
import pytest
import torch
from safetensors import safe_open
from torch import nn

from srquant.data.benchmark import BenchmarkSet
from srquant.data.calibration import CalibrationSet
from srquant.deploy.export.pair_saturation import has_vnni
from srquant.deploy.export.program import export_graph
from srquant.deploy.file.header import from_json
from srquant.deploy.file.restore import restore
from srquant.deploy.file.save_load import HEADER, load, save
from srquant.deploy.frozen.freeze import FrozenModel, freeze
from srquant.deploy.frozen.grid import FrozenGrid
from srquant.deploy.frozen.matmul import FrozenMatmul
from srquant.deploy.onnx.model import to_onnx
from srquant.deploy.onnx.precision import layer_precisions as onnx_precisions
from srquant.deploy.openvino.float_precision import cpu_options
from srquant.deploy.openvino.model import to_openvino
from srquant.deploy.openvino.precision import layer_precisions
from srquant.errors import QuantizedFileError
from srquant.insertion.policy import LayerBits, Policy
from srquant.measure.cost.formulas import matrix_products
from srquant.measure.cost.layer_costs import layer_costs
from srquant.measure.cost.layer_summaries import LayerSummary, layer_summaries
from srquant.measure.quality.metrics import psnr_y
from srquant.methods.registry import METHODS
from srquant.models.blocks.layers import Matmul
from srquant.models.blocks.split_qkv import split_qkv
from srquant.models.load import build, load_model
from srquant.models.network import Facts, Network
from srquant.quantizers.base import ActivationQuantizer
from srquant.quantizers.layers import QuantMatmul
from srquant.upscale.engines.openvino_engine import OpenVINOEngine
from srquant.upscale.engines.torch_engine import TorchEngine

SMALL = {
    "swinir": {"depths": [2], "heads": 2, "features": 8, "hidden": 16, "scale": 2, "window": 4},
    "imdtn": {"blocks": 1, "features": 16, "hidden": 32, "window": 3},
}
ATTENTION = Policy(LayerBits(4, 4), kinds=("linear", "matmul"))
needs_vnni = pytest.mark.skipif(not has_vnni(), reason="this processor has no VNNI")


DAT = {"depths": [2], "heads": 2, "features": 16, "hidden": 16, "window": [2, 4], "scale": 2}


def network_of(architecture: str) -> Network:
    network = build(architecture, DAT if architecture == "dat" else SMALL[architecture])
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return network


def run_openvino(network: Network, images: torch.Tensor, pair_saturation: bool = False) -> torch.Tensor:
    compiled = openvino.compile_model(to_openvino(network, pair_saturation), "CPU", cpu_options())
    return torch.from_numpy(compiled([images.numpy()])[0])


def run_onnx(network: Network, images: torch.Tensor, pair_saturation: bool = False) -> torch.Tensor:
    model = to_onnx(network, pair_saturation).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(["output"], {"input": images.numpy()})[0])


ENGINES = pytest.mark.parametrize("run", [run_openvino, run_onnx], ids=["openvino", "onnxruntime"])


@pytest.mark.parametrize("architecture", [*SMALL, "dat"])
@torch.no_grad()
def test_exports_take_any_size(architecture):
    network = network_of(architecture)
    fixed = OpenVINOEngine(network, threads=1)
    dynamic = openvino.compile_model(fixed.session.model, "CPU", cpu_options())
    session = onnxruntime.InferenceSession(to_onnx(network).SerializeToString(), providers=["CPUExecutionProvider"])
    graph = export_graph(network)
    for shape in ((2, 3, 13, 9), (1, 3, 8, 12), (1, 3, 1, 2)):
        images = torch.rand(shape)
        expected = network(images).numpy()
        assert torch.equal(graph(images), network(images))
        np.testing.assert_allclose(dynamic([images.numpy()])[0], expected, atol=5e-6)
        np.testing.assert_allclose(fixed(images.numpy()), expected, atol=5e-6)
        np.testing.assert_allclose(session.run(None, {"input": images.numpy()})[0], expected, atol=5e-6)


def test_costs_of_frozen_products(freeze_by_policy):
    network = network_of("swinir")
    frozen = freeze_by_policy(network, ATTENTION).network
    macs = {cost.name: cost.macs for cost in layer_costs(network, 8, 12)}
    costs = {cost.name: cost for cost in layer_costs(frozen, 8, 12)}
    products = matrix_products(frozen)
    assert products == matrix_products(network)
    assert [costs[name].macs for name in products] == [macs[name] for name in products]
    assert {(costs[name].weight_bits, costs[name].activation_bits) for name in products} == {(4, 4)}


def random_grid(bits: int, starts_at_zero: bool) -> FrozenGrid:
    """Bounds that are multiples of 2**-12, as after settling."""
    levels, spacing = 1 << bits, 2.0**-12
    step = (2 * torch.randint(20, 200, ()) + 1) * spacing
    lower = torch.tensor(0.0) if starts_at_zero else -(torch.randint(50, 400, ()) * spacing)
    return FrozenGrid(lower, lower + (levels - 1) * step, levels)


@pytest.mark.parametrize("starts_at_zero", [False, True])
@pytest.mark.parametrize("bits", [(2, 2), (3, 5), (4, 4), (8, 8)], ids=str)
@pytest.mark.parametrize("lattice", [2.0**-12, None], ids=["settled", "free"])
@torch.no_grad()
def test_frozen_product_is_the_quantized_one(bits, starts_at_zero, lattice):
    left, right = random_grid(bits[0], starts_at_zero), random_grid(bits[1], False)
    quantizers = (ActivationQuantizer(grid.lower, grid.upper, b) for grid, b in zip((left, right), bits, strict=True))
    quantized, frozen = QuantMatmul(Matmul(), *quantizers), FrozenMatmul(left, right, lattice)
    quantized.lattice = lattice
    a, b = torch.randn(2, 3, 7, 64) * 4, torch.randn(2, 3, 64, 5) * 4
    assert (frozen(a, b) - quantized(a, b)).abs().max() <= (0 if lattice else 1e-3)
    integers = frozen.left(a), frozen.right(b)
    assert torch.equal(integers[0], integers[0].to(torch.int8 if frozen.left.first else torch.uint8))
    assert torch.equal(integers[1], integers[1].to(torch.int8))


class Products(nn.Module):
    """Rows of a picture times its columns, channel by channel, on grids of several bits."""

    def __init__(self) -> None:
        super().__init__()
        bits = ((2, 3), (4, 4), (5, 8), (8, 8))
        self.products = nn.ModuleList(
            FrozenMatmul(random_grid(a, i == 1), random_grid(b, False), None) for i, (a, b) in enumerate(bits)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        centred = images - 0.5
        return torch.cat([product(images, centred.transpose(2, 3)) for product in self.products], 1)


@pytest.mark.parametrize("pair_saturation", [False, True], ids=["vnni", "no vnni"])
@ENGINES
@torch.no_grad()
def test_engines_multiply_integers_of_all_bits(run, pair_saturation):
    network, images = Network(Products(), Facts("custom", 1, 1.0, (), ())), torch.rand(1, 3, 9, 24)
    difference = (run(network, images, pair_saturation) - network(images)).abs()
    assert (difference > 1e-4).float().mean() < 0.02  # one code beside a tie moves a row of nine


@needs_vnni
def test_products_that_would_saturate_are_reported_as_float():
    network = Network(Products(), Facts("custom", 1, 1.0, (), ()))
    assert [layer.precision for layer in layer_precisions(to_openvino(network, False))] == ["int8"] * 4
    by_name = {layer.name: layer.precision for layer in layer_precisions(to_openvino(network, True))}
    assert by_name == {f"products.{i}": "float32" if i == 3 else "int8" for i in range(4)}


@pytest.fixture(params=SMALL)
def frozen(request, freeze_by_policy) -> FrozenModel:
    return freeze_by_policy(split_qkv(network_of(request.param)), ATTENTION)


@ENGINES
@torch.no_grad()
def test_engines_give_the_frozen_picture(frozen, run):
    """Softmax, normalisation and GELU leave the lattice, so a code may round the other way now and then."""
    images = torch.rand(1, 3, 14, 15)
    expected = frozen.network(images)
    difference = (run(frozen.network, images) - expected).abs()
    assert difference.max() < 0.05 * (expected.max() - expected.min())
    assert difference.mean() < 0.01 * expected.std()


@needs_vnni
@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_every_linear_layer_and_product_runs_as_int8(frozen, engine):
    network = frozen.network
    model = to_openvino(network) if engine == "openvino" else to_onnx(network)
    layers = layer_precisions(model) if engine == "openvino" else onnx_precisions(model)
    assert {layer.name for layer in layers if layer.precision == "int8"} == frozen.specs.keys()
    assert len(layers) == len(layer_summaries(network))


@torch.no_grad()
def test_file_brings_products_back(frozen, tmp_path):
    save(frozen, tmp_path / "attention.safetensors")
    loaded, images = load(tmp_path / "attention.safetensors"), torch.rand(1, 3, 12, 12)
    assert torch.equal(loaded.network(images), frozen.network(images))
    assert loaded.policy == frozen.policy
    product = next(layer for layer in layer_summaries(loaded.network) if layer.kind == "matmul")
    assert product == LayerSummary(product.name, "matmul", 4, 4, None, "static")


def test_file_with_a_product_where_there_is_none_is_refused(frozen, tmp_path):
    save(frozen, tmp_path / "attention.safetensors")
    with safe_open(tmp_path / "attention.safetensors", "pt") as file:
        header = from_json(file.metadata()[HEADER])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    products = [record for record in header.modules if record["kind"] == "matmul"]
    records = tuple(record | {"name": record["name"].replace(".av", ".proj")} for record in products)
    with pytest.raises(QuantizedFileError, match=r"attn\.proj.*doesn't fit the network"):
        restore(replace(header, modules=records), tensors)


@pytest.fixture(scope="module")
def imdtn(shared: Path) -> Network:
    return load_model(shared / "weights" / "imdtn_swin" / "team09_imdtn_x4.pth")


@pytest.fixture(scope="module")
def quantized(shared: Path, imdtn: Network):
    calibration = CalibrationSet(shared / "data" / "Set5" / "LR_bicubic" / "X4", 5, patch=36)
    method = METHODS["mse"]
    return method.quantize(split_qkv(imdtn), calibration, ATTENTION, method.config())


@torch.no_grad()
def test_published_network_freezes_to_the_same_values(quantized):
    images = torch.rand(1, 3, 31, 40)
    assert torch.equal(freeze(quantized).network(images), quantized.network(images))


@pytest.mark.parametrize(("bits", "tolerance"), [(32, 1e-4), (4, 0.1)], ids=["float", "w4a4"])
def test_published_network_has_one_psnr(shared, imdtn, quantized, bits, tolerance):
    """Noise of 1e-7 on the picture moves the PSNR of W4A4 in PyTorch alone by up to 0.08 dB; engines no further."""
    network = imdtn if bits == 32 else freeze(quantized).network
    engines = TorchEngine(network), OpenVINOEngine(network, threads=1)
    sample = next(s for s in BenchmarkSet(shared / "data" / "Set5", 4) if s.name == "butterfly")
    images = sample.low.transpose(2, 0, 1)[None].astype(np.float32) / 255
    pictures = (np.rint(np.clip(e(images)[0].transpose(1, 2, 0), 0, 1) * 255).astype(np.uint8) for e in engines)
    torch_psnr, openvino_psnr = (psnr_y(picture, sample.high, 4) for picture in pictures)
    assert abs(torch_psnr - openvino_psnr) < tolerance
