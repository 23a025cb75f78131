"""Layers behind quantizers that depend on what they see: frozen, in a file, counted, refused by exports."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from srquant.deploy.file.header import Header
from srquant.deploy.file.module_records import read_module, record_of
from srquant.deploy.file.restore import restore
from srquant.deploy.file.save_load import load, save
from srquant.deploy.frozen.dynamic import DynamicLayer
from srquant.deploy.frozen.freeze import freeze
from srquant.deploy.frozen.kinds import frozen_module
from srquant.errors import EngineError, PolicyError, QuantizedFileError
from srquant.grids.range_rules import minmax, symmetric_mse
from srquant.insertion.collect_ranges import Collection, activation_bounds
from srquant.insertion.insert_quantizers import insert_quantizers
from srquant.insertion.plan import resolve
from srquant.insertion.policy import LayerBits, Policy
from srquant.insertion.quantized_model import Origin, QuantizedModel
from srquant.insertion.settle_on_lattice import settle
from srquant.measure.cost.layer_costs import fab
from srquant.measure.cost.layer_summaries import layer_summaries
from srquant.measure.cost.report import cost_report
from srquant.methods.daq.quantizer import DAQQuantizer
from srquant.models.blocks.layers import Add
from srquant.models.load import build
from srquant.quantizers.base import ActivationQuantizer
from srquant.quantizers.layers import QuantAddends, quant_layers
from srquant.quantizers.shifted import ShiftedQuantizer
from srquant.quantizers.stored import StoredTensors
from srquant.upscale.engines.onnxruntime_engine import OnnxRuntimeEngine
from srquant.upscale.engines.open_engine import fastest
from srquant.upscale.engines.openvino_engine import OpenVINOEngine
from srquant.upscale.tiles.tiling import measure_tiling

TINY = {"blocks": 1, "features": 8}


@pytest.fixture
def quantized() -> QuantizedModel:
    """An EDSR whose body is quantized by DAQ, float head and tail."""
    network = build("edsr", TINY).eval()
    policy = Policy(LayerBits(4, 3), head=None, tail=None)
    plan = resolve(network, policy)
    bounds = activation_bounds(network, plan, [torch.rand(2, 3, 16, 16)], Collection(minmax, None))
    student = insert_quantizers(network, plan, bounds, symmetric_mse)
    for name, layer in quant_layers(student).items():
        layer.input_quantizer = DAQQuantizer(3, rectified=name.endswith("2"), step="code", spread_bits=8)
    settle(student)
    return QuantizedModel(student, policy, Origin("daq"))


@pytest.fixture
def picture() -> Tensor:
    return torch.rand(2, 3, 20, 17, generator=torch.Generator().manual_seed(3))


def upscaled(model: QuantizedModel, picture: Tensor) -> Tensor:
    with torch.no_grad():
        result: Tensor = model.network(picture)
    return result


def test_frozen_computes_the_same_bits(quantized, picture):
    assert torch.equal(upscaled(freeze(quantized), picture), upscaled(quantized, picture))


def test_file_holds_integers_kind_and_settings(quantized, picture, tmp_path: Path):
    model = freeze(quantized)
    save(model, tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    assert torch.equal(upscaled(loaded, picture), upscaled(model, picture))
    layers = [module for module in loaded.network.modules() if isinstance(module, DynamicLayer)]
    assert len(layers) == len(model.specs) == 3
    assert all(layer.weight.dtype == torch.int8 for layer in layers)
    assert layers[1].points.settings() == DAQQuantizer(3, True, "code", 8).settings()


def test_said_to_be_dynamic(quantized, picture):
    model = freeze(quantized)
    summaries = {layer.name: layer for layer in layer_summaries(model.network)}
    assert {summaries[name].ranges for name in model.specs} == {"dynamic"}
    assert {summaries[name].activation_bits for name in model.specs} == {3}
    assert fab(model.network) == 3
    spent = cost_report(model, [picture[:1]])
    assert spent.ranges == "dynamic"
    assert spent.effective_activation_bits > 1


def test_tiles_are_not_exact(quantized):
    assert not measure_tiling(freeze(quantized).network).exact


@pytest.mark.parametrize("engine", [OpenVINOEngine, OnnxRuntimeEngine])
def test_engines_name_the_layer_and_the_way_out(quantized, engine):
    with pytest.raises(EngineError, match=r"body\.0\.body\.0.*daq.*--engine torch"):
        engine(freeze(quantized).network)


def test_auto_falls_back_to_torch(quantized):
    assert fastest(freeze(quantized).network, 1).name == "torch"


GOOD = {"bits": 3, "rectified": False, "step": "code", "spread_bits": 8}
BAD = {
    "'nonsense', need one of uniform": {"kind": "nonsense", "bits": 3, "settings": GOOD},
    "settings of such a quantizer .*neither": {"kind": "daq", "bits": 3, "settings": GOOD | {"step": "neither"}},
    "settings of such a quantizer .*colour": {"kind": "daq", "bits": 3, "settings": GOOD | {"colour": 1}},
    "doesn't fit": {"kind": "daq", "bits": 3, "settings": GOOD | {"bits": 4}},
}


@pytest.mark.parametrize("message", BAD)
def test_bad_quantizers_are_refused(quantized, message: str):
    layer = quant_layers(quantized.network)["body.0.body.0"]
    record = record_of("body.0.body.0", layer.spec()) | {"grid": BAD[message]}
    modules = dict(build("edsr", TINY).module.named_modules())
    with pytest.raises(QuantizedFileError, match=message):
        read_module(record, modules, StoredTensors({}))


def test_a_sum_has_no_quantizer_of_its_own(quantized):
    record = {"name": "body.0.add", "kind": "sum", "grid": {"kind": "daq", "bits": 3, "settings": GOOD}, "scale": 1.0}
    header = Header("edsr", TINY, quantized.policy, Origin("daq"), (record,))
    some_tensors = {f"tensor {i}": torch.zeros(1) for i in range(30)}
    with pytest.raises(PolicyError, match="a sum has a grid of kind 'daq'"):
        restore(header, some_tensors)


def test_an_addend_of_a_kind_without_a_form_is_refused():
    quantizer = ShiftedQuantizer(torch.tensor(-1.0), torch.tensor(1.0), 4, torch.zeros(8, 1, 1))
    plain = ActivationQuantizer(torch.tensor(-1.0), torch.tensor(1.0), 4)
    with pytest.raises(PolicyError, match="an addend has a grid of kind 'shifted'"):
        frozen_module(QuantAddends(Add(), plain, quantizer).spec())
