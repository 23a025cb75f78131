"""Networks of three branches: frozen, in files, in engines."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from srquant.deploy.file.save_load import load, save
from srquant.deploy.frozen.freeze import FrozenModel, freeze
from srquant.deploy.openvino.model import to_openvino
from srquant.errors import EngineError, QuantizedFileError
from srquant.grids.picture_density import gradient_density
from srquant.grids.range_rules import minmax, symmetric_max
from srquant.insertion.branched_network import BranchedNetwork, branches_of
from srquant.insertion.collect_ranges import Collection, activation_bounds
from srquant.insertion.insert_quantizers import insert_quantizers
from srquant.insertion.plan import resolve
from srquant.insertion.policy import LayerBits, Policy
from srquant.insertion.quantized_model import Origin, QuantizedModel
from srquant.measure.cost.layer_costs import fab, picture_fab
from srquant.measure.cost.report import cost_report
from srquant.measure.speed.exported_models import export_quantized
from srquant.methods.adabm.adaptive_bits import (
    AdaptiveNetwork,
    PictureBits,
    adaptive_quantizers,
    make_adaptive,
    mean_bits,
)
from srquant.methods.adabm.branches import settle_branches
from srquant.methods.adabm.image_to_bit import ImageToBit
from srquant.models.load import build
from srquant.quantizers.layers import quant_layers
from srquant.upscale.engines.open_engine import open_engine

SIZES = {"edsr": {"blocks": 2, "features": 8}, "carn": {"features": 8}}


def pictures():
    """Four pictures with little, more, more and much to see."""
    noise = torch.randint(0, 256, (4, 3, 16, 20), generator=torch.Generator().manual_seed(1)) / 255
    return noise * torch.tensor([0.1, 0.4, 0.5, 1.0]).view(4, 1, 1, 1)


def adaptive(architecture="edsr", bits=4):
    network = build(architecture, SIZES[architecture]).eval()
    policy = Policy(LayerBits(bits, bits))
    plan = resolve(network, policy)
    bounds = activation_bounds(network, plan, [pictures()], Collection(minmax, None))
    student = insert_quantizers(network, plan, bounds, symmetric_max)
    state = PictureBits(torch.zeros(1))
    ends = network.facts.ends
    make_adaptive(student, [name for name in quant_layers(student) if name not in ends], state)
    for i, quantizer in enumerate(adaptive_quantizers(student).values()):
        quantizer.layer_to_bit.factor.data.fill_(i % 3 - 1)
    low, *_, high = gradient_density(pictures()).sort().values
    return AdaptiveNetwork(student, ImageToBit(2 * low, 0.8 * high), state)


def quantized(architecture="edsr", bits=4):
    network = settle_branches(adaptive(architecture, bits)).eval().requires_grad_(False)
    return QuantizedModel(network, Policy(LayerBits(bits, bits)), Origin("adabm"))


@pytest.fixture(scope="module")
def frozen() -> FrozenModel:
    torch.manual_seed(0)
    return freeze(quantized())


@pytest.mark.parametrize("bits", [4, 6])
@pytest.mark.parametrize("architecture", ["edsr", "carn"])
def test_frozen_branches_equal_quantized_ones_bit_for_bit(architecture, bits):
    model = quantized(architecture, bits)
    frozen = freeze(model)
    with torch.inference_mode():
        for a, b in zip(branches_of(model.network), branches_of(frozen.network), strict=True):
            assert torch.equal(a(pictures()), b(pictures()))
        assert torch.equal(model.network(pictures()), frozen.network(pictures()))


def test_pictures_take_their_branches(frozen):
    low, middle, high = branches_of(frozen.network)
    with torch.inference_mode():
        expected = torch.cat([b(pictures()[i : i + 1]) for i, b in enumerate((low, middle, middle, high))])
        assert torch.equal(frozen.network(pictures()), expected)
        assert not torch.equal(low(pictures()), middle(pictures()))


@pytest.mark.parametrize("engine", ["torch", "openvino", "onnxruntime", "auto"])
@pytest.mark.parametrize("architecture", ["edsr", "carn"])
def test_engines_choose_for_each_picture(architecture, engine):
    network = freeze(quantized(architecture)).network
    images = pictures().numpy()
    with torch.inference_mode():
        expected = network(pictures()).numpy()
    running = open_engine(engine, network, 1)
    assert np.abs(running(images) - expected).max() < 1e-5  # a code that differs is worth hundreds of this
    assert running.name == ("openvino" if engine == "auto" else engine)


def test_branches_are_prepared_when_first_needed(frozen):
    running = open_engine("openvino", frozen.network, 1)
    assert list(running.opened) == [0]
    running(pictures()[3:].numpy())
    assert list(running.opened) == [0, 1]


def test_one_file_gives_the_same_network_back(frozen, tmp_path):
    path = tmp_path / "model.safetensors"
    save(frozen, path)
    loaded = load(path)
    assert isinstance(loaded.network, BranchedNetwork)
    assert torch.equal(loaded.network.thresholds, frozen.network.thresholds)
    with torch.inference_mode():
        for a, b in zip(branches_of(frozen.network), branches_of(loaded.network), strict=True):
            assert torch.equal(a(pictures()), b(pictures()))
    save(loaded, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_file_holds_once_what_branches_share(frozen, tmp_path):
    static = freeze(QuantizedModel(branches_of(quantized().network)[1], frozen.policy, frozen.origin))
    for model, name in ((frozen, "three"), (static, "one")):
        save(model, tmp_path / name)
    three, one = (load_file(tmp_path / name) for name in ("three", "one"))
    assert three.keys() - one.keys() == {"thresholds"}
    assert {name: t.numel() for name, t in three.items() if name != "thresholds"} == {
        name: t.numel() for name, t in one.items()
    }


def adaptive_record(header):
    records = (record for record in header["modules"] if record["kind"] == "layer")
    return next(record for record in records if record["grid"]["kind"] == "branches")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda h, t: t.pop("thresholds"), "'thresholds' is missing"),
        (lambda h, t: t.update(thresholds=torch.tensor([5.0, 1.0])), "not in order"),
        (lambda h, t: t.update(thresholds=torch.tensor([1.0, 2.0, 3.0])), "thresholds"),
        (lambda h, t: adaptive_record(h)["grid"].update(branch_bits=[3, 4]), "need bits of 3 branches"),
        (lambda h, t: adaptive_record(h)["grid"].update(branch_bits=[1, 2, 3]), "is 1, need 2 to 8"),
        (lambda h, t: adaptive_record(h).update(lattice=None), "need a lattice"),
    ],
    ids=["no thresholds", "order", "three thresholds", "two branches", "one bit", "no lattice"],
)
def test_damaged_files_are_refused(frozen, edited, tmp_path, change, complaint):
    save(frozen, tmp_path / "model")
    edited(tmp_path / "model", tmp_path / "damaged", change)
    with pytest.raises(QuantizedFileError, match=complaint):
        load(tmp_path / "damaged")


def test_fab_of_a_picture_is_that_of_its_branch(frozen):
    network = adaptive().requires_grad_(False)
    measure = picture_fab(frozen.network)
    for image in (pictures() * 255).round():
        network(image[None] / 255)
        assert measure(image.permute(1, 2, 0).numpy().astype(np.uint8)) == pytest.approx(float(mean_bits(network)))
    assert fab(frozen.network) == pytest.approx(4 - 1 / 5)


def test_spending_counts_the_branches_that_run(frozen):
    plain, busy = pictures()[:1], pictures()[3:]
    low, high, both = (cost_report(frozen, chosen) for chosen in ([plain], [busy], [plain, busy]))
    assert low.bit_ops < both.bit_ops < high.bit_ops
    assert both.activation_bits == pytest.approx((low.activation_bits + high.activation_bits) / 2)
    assert low.effective_activation_bits < high.effective_activation_bits
    assert not both.layers_exceeding_bits


def test_export_asks_for_a_branch(frozen, tmp_path):
    with pytest.raises(EngineError, match=r"export each of 'network\.branches'"):
        to_openvino(frozen.network)
    names = [model.engine for model in export_quantized(frozen.network, tmp_path)]
    assert names == ["openvino-low", "openvino-middle", "openvino-high"]
