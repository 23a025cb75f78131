"""Networks of several depths, and shifts behind which zero stays zero: frozen, in a file, in engines."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from srquant.deploy.file.open_model import open_model
from srquant.deploy.file.save_load import load, save, size_of
from srquant.deploy.frozen.channels import ChannelScaling
from srquant.deploy.frozen.depth import at_depth
from srquant.deploy.frozen.freeze import FrozenModel, freeze
from srquant.deploy.frozen.layers import FrozenConv2d
from srquant.deploy.openvino.model import to_openvino
from srquant.deploy.openvino.precision import layer_precisions
from srquant.errors import PolicyError, QuantizedFileError
from srquant.insertion.depth_network import DepthNetwork
from srquant.insertion.policy import LayerBits, Policy
from srquant.insertion.quantized_model import Origin, QuantizedModel
from srquant.insertion.settle_on_lattice import settle
from srquant.measure.cost.depth_costs import depth_costs
from srquant.measure.cost.formulas import bit_ops
from srquant.measure.cost.layer_costs import layer_costs
from srquant.methods.quantsr.dqa import skippable_blocks
from srquant.methods.quantsr.method import QuantSR, prepare
from srquant.methods.quantsr.rlq_layers import RLQLayer
from srquant.models.load import build
from srquant.models.network import Facts, Network
from srquant.quantizers.base import WeightQuantizer
from srquant.quantizers.layers import QuantConv2d
from srquant.quantizers.shifted import ShiftedQuantizer
from srquant.upscale.engines.onnxruntime_engine import OnnxRuntimeEngine
from srquant.upscale.engines.openvino_engine import OpenVINOEngine

ENGINES = pytest.mark.parametrize("engine", [OpenVINOEngine, OnnxRuntimeEngine])
SIZES = {
    "edsr": {"blocks": 4, "features": 8, "scale": 2},
    "swinir": {"depths": [1, 1, 1, 1], "heads": 2, "features": 8, "hidden": 16, "window": 4, "scale": 2},
}
FULLY = {bits: Policy(LayerBits(bits, bits)) for bits in (2, 4, 8)}


def pictures(count: int = 2) -> Tensor:
    return torch.rand(count, 3, 17, 19, generator=torch.Generator().manual_seed(3))


def quantized(architecture: str, policy: Policy) -> QuantizedModel:
    """A network of depths 4 and 2 that was not trained, with shifts and shortcuts as if it were."""
    torch.manual_seed(0)
    network = build(architecture, SIZES[architecture])
    student = prepare(network, [torch.rand(2, 3, 16, 16)], policy, QuantSR(depths=(4, 2)), 1)
    for module in student.modules():
        if isinstance(module, RLQLayer) and module.input_quantizer.tau is not None:
            shift, step = module.input_quantizer.tau, module.input_quantizer.alpha.detach()
            shift.data.copy_(torch.randn(shift.shape) * step)
    for i, block in enumerate(skippable_blocks(student.network).values()):
        if block.shortcut is not None:
            block.shortcut.data.fill_(0.9 + i / 10)
    return student.result()


@pytest.fixture(scope="module")
def frozen() -> FrozenModel:
    return freeze(quantized("edsr", FULLY[4]))


def upscaled(network: Network) -> Tensor:
    with torch.no_grad():
        result: Tensor = network(pictures())
    return result


@pytest.mark.parametrize("bits", FULLY)
@pytest.mark.parametrize("architecture", SIZES)
def test_frozen_and_loaded_networks_compute_the_same_bits_at_every_depth(architecture: str, bits: int, tmp_path: Path):
    model = quantized(architecture, FULLY[bits])
    deployed = freeze(model)
    save(deployed, tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    assert isinstance(model.network, DepthNetwork)
    assert isinstance(loaded.network, DepthNetwork)
    assert torch.equal(upscaled(loaded.network), upscaled(model.network))
    for depth in (4, 2):
        expected = upscaled(model.network.at(depth))
        assert torch.equal(upscaled(at_depth(deployed, depth).network), expected)
        assert torch.equal(upscaled(at_depth(loaded, depth).network), expected)
    assert not torch.equal(upscaled(model.network.at(2)), upscaled(model.network))


@ENGINES
@pytest.mark.parametrize("bits", FULLY)
def test_engines_compute_the_same_integers_at_every_depth(engine, bits: int):
    model = freeze(quantized("edsr", FULLY[bits]))
    for depth in (4, 2):
        network = at_depth(model, depth).network
        found = engine(network, threads=1)(pictures().numpy())
        assert np.abs(found - upscaled(network).numpy()).max() < 1e-5  # a code that differs is worth hundreds of this


@ENGINES
def test_engines_run_swinir_at_every_depth(engine):
    """At 8 bits, a value that is rounded to the other side hardly changes the picture."""
    model = freeze(quantized("swinir", FULLY[8]))
    for depth in (4, 2):
        network = at_depth(model, depth).network
        with torch.no_grad():
            expected = network(pictures(8)).numpy()
        found = engine(network, threads=1)(pictures(8).numpy())
        assert np.abs(found - expected).mean() < 2e-3 * expected.std()


def test_every_depth_runs_on_integers(frozen: FrozenModel):
    for depth, layers in ((4, 12), (2, 8)):
        precisions = layer_precisions(to_openvino(at_depth(frozen, depth).network, pair_saturation=False))
        assert len(precisions) == layers
        assert {layer.precision for layer in precisions} == {"int8"}


def test_layers_of_swinir_behind_shifts_run_on_integers():
    model = at_depth(freeze(quantized("swinir", FULLY[8])), 2)
    precisions = {layer.name: layer.precision for layer in layer_precisions(to_openvino(model.network))}
    linear = [name for name in model.specs if name.endswith(("fc1", "fc2", "proj"))]
    assert linear
    assert {precisions[name] for name in linear} == {"int8"}


def test_full_depth_is_what_runs_unless_told_otherwise(frozen: FrozenModel):
    assert torch.equal(upscaled(frozen.network), upscaled(at_depth(frozen, 4).network))


def test_file_holds_shared_weights_once(frozen: FrozenModel, tmp_path: Path):
    save(frozen, tmp_path / "both")
    save(at_depth(frozen, 4), tmp_path / "four")
    save(at_depth(frozen, 2), tmp_path / "two")
    both, four, two = (load_file(tmp_path / name) for name in ("both", "four", "two"))
    assert {n: t.shape for n, t in both.items()} == {n: t.shape for n, t in four.items()}
    assert two.keys() < four.keys()
    left_out = {name.split(".")[1] for name in four.keys() - two.keys()}
    assert len(left_out) == 2


def test_one_depth_can_be_saved_alone(frozen: FrozenModel, tmp_path: Path):
    shallow = at_depth(frozen, 2)
    save(shallow, tmp_path / "two.safetensors")
    loaded = load(tmp_path / "two.safetensors")
    assert not isinstance(loaded.network, DepthNetwork)
    assert torch.equal(upscaled(loaded.network), upscaled(shallow.network))
    save(loaded, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()


def test_depth_that_was_not_trained(frozen: FrozenModel, tmp_path: Path):
    with pytest.raises(PolicyError, match="depth 3 was not trained; choose 4 or 2"):
        at_depth(frozen, 3)
    with pytest.raises(PolicyError, match="one depth only"):
        at_depth(at_depth(frozen, 2), 2)
    save(frozen, tmp_path / "model.safetensors")
    opened = open_model(tmp_path / "model.safetensors", depth=2)
    assert isinstance(opened, FrozenModel)
    assert torch.equal(upscaled(opened.network), upscaled(at_depth(frozen, 2).network))
    torch.save(build("edsr", SIZES["edsr"]).module.state_dict(), tmp_path / "float.pt")
    with pytest.raises(PolicyError, match="float"):
        open_model(tmp_path / "float.pt", depth=2)


def test_costs_of_each_depth(frozen: FrozenModel):
    full, half = depth_costs(frozen, 20, 30)
    assert (full.depth, half.depth) == (4, 2)
    assert set(half.blocks) < set(full.blocks)
    block = 2 * (8 * 8 * 9) * 20 * 30 * 2 * 4 * 4
    assert full.bit_ops - half.bit_ops == pytest.approx(2 * block)
    assert full.bit_ops == bit_ops(layer_costs(frozen.network, 20, 30))
    assert full.size_bytes == size_of(frozen)
    weights, others = 2 * (8 * 8 * 9) // 2, 2 * 4 * (3 + 2 + 8 + 8)
    assert full.size_bytes - half.size_bytes == 2 * (weights + others)
    assert not list(depth_costs(at_depth(frozen, 2), 20, 30))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda h, t: h["depths"].reverse(), "depth"),
        (lambda h, t: h["depths"].append(h["depths"][1]), "not in order"),
        (lambda h, t: h["depths"][1].append("head"), "don't fit"),
        (lambda h, t: h["depths"][1].clear(), "don't fit"),
        (lambda h, t: h.pop("depths"), "depths"),
        (lambda h, t: h.update(depths=[]), None),
        (lambda h, t: h["depths"][0].pop(), "fit"),
        (lambda h, t: h["modules"][1].update(grid={"kind": "uniform", "bits": 4, "narrow": False}), "shift"),
        (lambda h, t: h["modules"][1].update(grid={"kind": "dan", "bits": 4}), "shift"),
        (lambda h, t: t.pop("body.0.body.0.shift"), "shift"),
        (lambda h, t: t.update({"body.0.body.0.shift": torch.zeros(7)}), "shift"),
        (lambda h, t: t.update({"body.0.body.0.shift": torch.full((8,), torch.inf)}), "finite"),
    ],
    ids=[
        "reversed",
        "twice",
        "no block",
        "empty",
        "no depths",
        "plain",
        "block missing",
        "not shifted",
        "dynamic",
        "no shift",
        "short shift",
        "infinite shift",
    ],
)
def test_damaged_files_are_refused(frozen: FrozenModel, edited, tmp_path: Path, change, complaint: str | None):
    save(frozen, tmp_path / "model")
    edited(tmp_path / "model", tmp_path / "damaged", change)
    if complaint is None:
        assert not isinstance(load(tmp_path / "damaged").network, DepthNetwork)
        return
    with pytest.raises(QuantizedFileError, match=complaint):
        load(tmp_path / "damaged")


def shifted_layer(bits: int, signed: bool) -> QuantizedModel:
    """A convolution behind shifts of up to two steps, on a grid from 0 or to both sides of it."""
    torch.manual_seed(0)
    network = Network(nn.Sequential(nn.Conv2d(3, 3, 3, padding=1)), Facts("custom", 1, 1.0, (), ())).eval()
    conv = network.module.get_submodule("0")
    assert isinstance(conv, nn.Conv2d)
    step, first, last = 1.0 / 2**bits, -(2 ** (bits - 1)) if signed else 0, 2 ** (bits - signed) - 1
    shift = torch.tensor([-2.0, 0.3, 1.7]).mul(step).reshape(3, 1, 1)
    activation = ShiftedQuantizer(torch.tensor(step * first), torch.tensor(step * last), bits, shift)
    weight = WeightQuantizer(torch.tensor(-0.64), torch.tensor(0.56), 4, False)
    network.module.set_submodule("0", QuantConv2d(conv, activation, weight))
    settle(network)
    return QuantizedModel(network.requires_grad_(False), Policy(LayerBits(4, bits)), Origin("test"))


@ENGINES
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_padded_zeros_are_not_shifted(engine, bits: int, signed: bool):
    model = shifted_layer(bits, signed)
    deployed = freeze(model).network
    layer = deployed.module.get_submodule("0")
    assert isinstance(layer, FrozenConv2d)
    assert isinstance(layer.before, ChannelScaling)
    assert layer.padding == (1, 1)
    assert layer.grid.offset == 0
    expected = upscaled(model.network)
    assert torch.equal(upscaled(deployed), expected)
    found = engine(deployed, threads=1)(pictures().numpy())
    assert np.abs(found - expected.numpy()).max() < 1e-6
    black = model.network.module(torch.zeros(1, 3, 5, 5))
    assert not torch.allclose(black[..., 0, 0], black[..., 2, 2])
