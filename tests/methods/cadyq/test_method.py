"""CADyQ: students, what they learn, and the networks that become of them."""

from pathlib import Path

import pytest
import torch

from srquant.deploy.file.save_load import load, save
from srquant.deploy.frozen.freeze import FrozenModel, freeze
from srquant.errors import EngineError, PolicyError
from srquant.insertion.policy import LayerBits, Policy
from srquant.measure.cost.chosen_bits import record_chosen_bits
from srquant.measure.cost.layer_costs import picture_fab
from srquant.measure.cost.report import cost_report
from srquant.methods.cadyq import method as cadyq
from srquant.models.load import build
from srquant.models.network import Network
from srquant.upscale.engines.onnxruntime_engine import OnnxRuntimeEngine
from srquant.upscale.engines.openvino_engine import OpenVINOEngine
from srquant.upscale.tiles.tiling import measure_tiling

POLICY = Policy(LayerBits(8, 8), head=None, tail=None)


@pytest.fixture
def network() -> Network:
    return build("edsr", {"blocks": 2, "features": 8}).eval()


@pytest.fixture
def crops() -> list[torch.Tensor]:
    """Dense and flat ones."""
    noise = torch.rand(4, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    return [0.5 + (noise - 0.5) * torch.tensor([1.0, 0.5, 0.05, 0.01]).view(4, 1, 1, 1)]


def frozen_with_choices(student: cadyq.CADyQStudent) -> FrozenModel:
    """Pictures of much gradient take 8 bits, others 4, in all layers but the first, which takes 6."""
    for i, quantizer in enumerate(cadyq.selectors(student.network)):
        with torch.no_grad():
            quantizer.selector.weight.zero_()
            quantizer.selector.weight[2, 0] = 1.0 if i else 0.0
            quantizer.selector.bias.copy_(torch.tensor([20.0, 0.0, 0.0]) if i else torch.tensor([0.0, 1.0, 0.0]))
    return freeze(student.eval().result())


def test_at_first_every_layer_has_8_bits_and_fab_is_8(network, crops):
    student = cadyq.prepare(network, crops, POLICY, cadyq.CADyQ(), 10)
    assert len(cadyq.selectors(student.network)) == 5
    frozen = freeze(student.eval().result())
    with torch.no_grad(), record_chosen_bits(frozen.network) as bits:
        frozen.network(crops[0])
    assert {b for chosen in bits.values() for b in chosen.tolist()} == {8.0}
    picture = (255 * crops[0][0].permute(1, 2, 0)).byte().numpy()
    assert picture_fab(frozen.network)(picture) == 8.0


def test_first_bounds_are_the_mean_of_the_samples_largest_magnitudes(network, crops):
    student = cadyq.prepare(network, crops, POLICY, cadyq.CADyQ(), 10)
    seen = []
    handle = network.module.body[1].body[2].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        network(crops[0])
    handle.remove()
    expected = seen[0].flatten(1).abs().amax(1).mean()
    bounds = cadyq.selectors(student.network)[3].bounds
    assert torch.allclose(bounds, expected.expand(3), rtol=1e-5)


def test_weight_of_the_bits_grows_after_the_warmup(network, crops):
    student = cadyq.prepare(network, crops, POLICY, cadyq.CADyQ(warmup=0.5), 300)
    assert student.bit_weight(149) == 0.0
    assert student.bit_weight(150) == pytest.approx(1e-4 + 151e-6)
    assert student.bit_weight(299) == pytest.approx(4e-4)
    assert [student.rate_factor(step) for step in (0, 149, 150)] == [1.0, 1.0, 0.5]


def test_bits_fall_under_a_heavy_weight(trained, network, crops):
    config = cadyq.CADyQ(bit_weight=1.0, warmup=0.0, selector_rate=1e-2)
    student = cadyq.prepare(network, crops, POLICY, config, 30)
    trained(student, crops, 30)
    assert student.logged()["bits"] < 6


def test_without_weight_the_loss_falls(trained, network, crops):
    config = cadyq.CADyQ(bit_weight=0.0, bit_growth=0.0, learning_rate=1e-3)
    losses = trained(cadyq.prepare(network, crops, POLICY, config, 20), crops, 20)
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


def test_all_that_should_learns(trained, network, crops):
    student = cadyq.prepare(network, crops, POLICY, cadyq.CADyQ(), 10)
    before = {name: p.detach().clone() for name, p in student.named_parameters()}
    trained(student, crops, 2)
    moved = {name for name, p in student.named_parameters() if not torch.equal(p, before[name])}
    assert {"network.module.body.0.body.0.layer.weight", "network.module.head.0.weight"} <= moved
    assert "network.module.body.0.body.0.input_quantizer.bounds" in moved
    assert "network.module.body.0.body.0.input_quantizer.selector.weight" in moved
    assert not any(name.startswith("teacher") for name in moved)


def test_file_computes_like_the_student(trained, network, crops, tmp_path: Path):
    student = cadyq.prepare(network, crops, POLICY, cadyq.CADyQ(), 3)
    trained(student, crops, 3)
    model = frozen_with_choices(student)
    with torch.no_grad():
        expected = student.network(crops[0])
        found = model.network(crops[0])
    assert float((expected - found).abs().mean()) < 1e-3 * float(expected.std())
    save(model, tmp_path / "cadyq.safetensors")
    loaded = load(tmp_path / "cadyq.safetensors")
    with torch.no_grad():
        assert torch.equal(loaded.network(crops[0]), found)


def test_each_picture_of_a_batch_chooses_for_itself(network, crops):
    model = frozen_with_choices(cadyq.prepare(network, crops, POLICY, cadyq.CADyQ(), 3))
    with torch.no_grad():
        together = model.network(crops[0])
        alone = torch.cat([model.network(image[None]) for image in crops[0]])
    assert torch.allclose(together, alone, atol=1e-5)


def test_fab_and_spending_follow_the_picture(network, crops):
    model = frozen_with_choices(cadyq.prepare(network, crops, POLICY, cadyq.CADyQ(), 3))
    dense, flat = ((255 * crops[0][i].permute(1, 2, 0)).byte().numpy() for i in (0, 3))
    fab = picture_fab(model.network)
    assert fab(dense) == pytest.approx((6 + 4 * 8) / 5)
    assert fab(flat) == pytest.approx((6 + 4 * 4) / 5)
    spent = cost_report(model, [crops[0][:1], crops[0][3:]])
    assert spent.ranges == "dynamic"
    assert not spent.layers_exceeding_bits
    few = cost_report(model, [crops[0][3:]])
    assert few.bit_ops < spent.bit_ops


def test_tiles_are_not_exact(network, crops):
    model = frozen_with_choices(cadyq.prepare(network, crops, POLICY, cadyq.CADyQ(), 3))
    assert not measure_tiling(model.network).exact


def test_transformers(crops):
    network = build("swinir", {"depths": [2], "heads": 2, "features": 8, "hidden": 16, "scale": 2}).eval()
    images = torch.rand(2, 3, 16, 16)
    student = cadyq.prepare(network, [images], POLICY, cadyq.CADyQ(), 3)
    assert student(images, torch.rand(2, 3, 32, 32), 0).isfinite()


@pytest.mark.parametrize(
    ("policy", "config", "message"),
    [
        (Policy(LayerBits(8, 4)), cadyq.CADyQ(), "-a 8"),
        (Policy(LayerBits(8, 8), skip_bits=8), cadyq.CADyQ(), "sums"),
        (POLICY, cadyq.CADyQ(candidates=(8, 4)), "ascending"),
        (Policy(LayerBits(8, 8), activation_granularity="channel"), cadyq.CADyQ(), "granularity"),
    ],
)
def test_what_it_cant_do_is_refused(network, crops, policy, config, message):
    with pytest.raises(PolicyError, match=message):
        cadyq.prepare(network, crops, policy, config, 10)


@pytest.mark.parametrize("engine", [OpenVINOEngine, OnnxRuntimeEngine])
def test_engines_name_the_layer_and_the_way_out(network, crops, engine):
    model = frozen_with_choices(cadyq.prepare(network, crops, POLICY, cadyq.CADyQ(), 3))
    with pytest.raises(EngineError, match=r"body\.0\.body\.0.*cadyq.*--engine torch"):
        engine(model.network)


def test_what_passes_a_block_takes_the_grid_of_its_input(network, crops):
    """And its output has 8 bits."""
    student = cadyq.prepare(network, crops, POLICY, cadyq.CADyQ(), 3)
    block = student.network.module.body[0]
    assert block.add.left is block.body[0].input_quantizer
    assert block.add.right.levels == 255
    alone = cadyq.prepare(network, crops, POLICY, cadyq.CADyQ(addends=False), 3)
    assert not cadyq.outputs(alone.network)
