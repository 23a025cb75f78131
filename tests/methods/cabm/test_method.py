"""CABM: from selectors to a table, and the networks that run on it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from srquant.deploy.file.save_load import load, save
from srquant.deploy.frozen.freeze import FrozenModel, freeze
from srquant.distillation.loop import adam
from srquant.errors import DatasetError, PolicyError
from srquant.grids.picture_edges import edge_score
from srquant.insertion.policy import LayerBits, Policy
from srquant.measure.cost.layer_costs import picture_fab
from srquant.methods.cabm import method as cabm
from srquant.methods.cabm.edge_to_bit_lut import in_hundredths
from srquant.methods.cabm.lut_quantizer import LUTQuantizer
from srquant.models.load import build
from srquant.models.network import Network

POLICY = Policy(LayerBits(8, 8), head=None, tail=None)


@pytest.fixture
def network() -> Network:
    return build("edsr", {"blocks": 2, "features": 8}).eval()


@pytest.fixture
def crops() -> list[torch.Tensor]:
    """8 bits per colour, dense and flat ones."""
    noise = torch.rand(6, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    contrast = torch.tensor([1.0, 0.5, 0.3, 0.2, 0.05, 0.0]).view(6, 1, 1, 1)
    return [(255 * (0.5 + (noise - 0.5) * contrast)).round() / 255]


def choose_by_density(student: cabm.CABMStudent) -> None:
    """Pictures of much gradient take 8 bits, others 4, the first layer 6 or 4."""
    for i, quantizer in enumerate(cabm.lut_quantizers(student.network)):
        with torch.no_grad():
            quantizer.selector.weight.zero_()
            quantizer.selector.weight[2 if i else 1, 0] = 1.0
            quantizer.selector.bias.copy_(torch.tensor([20.0, 0.0, 0.0]))


def with_table(network: Network, crops: list[torch.Tensor], **options: object) -> cabm.CABMStudent:
    student = cabm.prepare(network, crops, POLICY, cabm.CABM(calibration=9.0, **options), 4)
    choose_by_density(student)
    cabm.build_lut(student.network, student.patches, student.cabm)
    return student.eval()


def frozen(student: cabm.CABMStudent) -> FrozenModel:
    return freeze(student.eval().result())


def pixels(image: torch.Tensor) -> np.ndarray:
    return (255 * image.permute(1, 2, 0)).round().byte().numpy()


def test_table_covers_every_score_of_the_patches(network, crops):
    student = with_table(network, crops)
    scores = in_hundredths(edge_score(crops[0]))
    assert cabm.lut_quantizers(student.network)[0].deployable().edges.tolist() == sorted(set(scores.tolist()))


def test_fab_of_the_table_run_is_the_mean_of_the_tables_fabs(network, crops):
    student = cabm.prepare(network, crops, POLICY, cabm.CABM(calibration=9.0), 4)
    choose_by_density(student)
    fabs = [c.fab for c in cabm.configurations(student.network, student.patches, (4, 6, 8))]
    cabm.build_lut(student.network, student.patches, student.cabm)
    fab = picture_fab(frozen(student).network)
    assert [fab(pixels(crop)) for crop in crops[0]] == pytest.approx(fabs)
    assert len(set(fabs)) > 1


def test_entries_above_the_limit_give_way_to_lower_scores(network, crops):
    student = cabm.prepare(network, crops, POLICY, cabm.CABM(calibration=6.0), 4)
    choose_by_density(student)
    cabm.build_lut(student.network, student.patches, student.cabm)
    fab = picture_fab(frozen(student).network)
    assert {fab(pixels(crop)) for crop in crops[0]} == {4.0}


def test_with_the_table_selectors_have_no_say(network, crops):
    student = with_table(network, crops)
    with torch.no_grad():
        before = student.network(crops[0])
        for quantizer in cabm.lut_quantizers(student.network):
            quantizer.selector.bias.copy_(torch.tensor([0.0, 0.0, 1e6]))
        assert torch.equal(student.network(crops[0]), before)


def test_run_trains_cadyq_then_fills_the_table_then_finetunes(network, crops):
    student = cabm.prepare(network, crops, POLICY, cabm.CABM(), 6)
    optimizer = adam(student.rates())
    high = torch.nn.functional.interpolate(crops[0], scale_factor=2)
    has_table, factors = [], []
    for step in range(6):
        student(crops[0], high, step).backward()
        optimizer.step()
        optimizer.zero_grad()
        student.after_step(step)
        has_table.append(cabm.lut_quantizers(student.network)[0].has_lut)
        factors.append(student.rate_factor(step))
    table = picture_fab(frozen(student).network)
    assert student.logged()["bits"] == pytest.approx(sum(table(pixels(crop)) for crop in crops[0]) / 6)
    assert has_table == [False, False, True, True, True, True]
    assert factors == pytest.approx([1.0, 1.0, 0.5, 0.1, 0.1, 0.05])


def test_state_remembers_the_table(network, crops):
    """A run that is resumed in its second part goes on with the same table."""
    student = with_table(network, crops)
    other = cabm.prepare(network, crops, POLICY, cabm.CABM(), 4).eval()
    other.load_state_dict(student.state_dict())
    with torch.no_grad():
        assert torch.equal(other.network(crops[0]), student.network(crops[0]))


def test_file_holds_the_table_and_no_selector(network, crops, tmp_path: Path):
    student = with_table(network, crops)
    model = frozen(student)
    with torch.no_grad():
        expected, found = student.network(crops[0]), model.network(crops[0])
    assert float((expected - found).abs().mean()) < 1e-3 * float(expected.std())
    save(model, tmp_path / "cabm.safetensors")
    loaded = load(tmp_path / "cabm.safetensors")
    with torch.no_grad():
        assert torch.equal(loaded.network(crops[0]), found)
    quantizers = [q for q in loaded.network.modules() if isinstance(q, LUTQuantizer)]
    assert len(quantizers) == 5 + 2, "of layers, and of what passes the blocks"
    assert {name.split(".")[0] for name in quantizers[0].state_dict()} == {"bounds", "edges", "by_edge"}
    assert loaded.origin.method == "cabm"


def test_patches_of_a_folder_fill_the_table(network, crops, tmp_path: Path):
    for i in range(2):
        picture = np.random.default_rng(i).integers(0, 256, (100, 200, 3), np.uint8)
        Image.fromarray(picture).save(tmp_path / f"{i}.png")
    student = cabm.prepare(network, crops, POLICY, cabm.CABM(patches=str(tmp_path)), 4)
    assert [tuple(batch.shape) for batch in student.patches] == [(4, 3, 96, 96)]


def test_pictures_smaller_than_a_patch_are_refused(network, crops, tmp_path: Path):
    Image.fromarray(np.zeros((95, 200, 3), np.uint8)).save(tmp_path / "small.png")
    with pytest.raises(DatasetError, match="small"):
        cabm.prepare(network, crops, POLICY, cabm.CABM(patches=str(tmp_path)), 4)


@pytest.mark.parametrize(
    ("config", "message"),
    [(cabm.CABM(selection=1.0), "selection"), (cabm.CABM(select_bit=-1), "select_bit")],
)
def test_impossible_options_are_refused(network, crops, config, message):
    with pytest.raises(PolicyError, match=message):
        cabm.prepare(network, crops, POLICY, config, 10)
