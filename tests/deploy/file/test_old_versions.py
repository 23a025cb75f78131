"""Files of versions 3 and 4, written by the releases that had these versions: one for each kind of grid, and some."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from srquant.deploy.file.save_load import load, save
from srquant.deploy.file.version3 import from_version_3
from srquant.errors import QuantizedFileError

FOLDER = Path(__file__).parent / "version3"
GRIDS = {
    "uniform": {"uniform"},
    "skip_channels": {"uniform"},
    "matmul": {"uniform"},
    "addends": {"uniform"},
    "shifted_depths": {"shifted"},
    "plq": {"plq", "uniform"},
    "dan": {"dan"},
    "branches": {"branches", "uniform"},
    "daq": {"daq"},
    "ddtb": {"ddtb"},
    "cadyq": {"cadyq", "uniform"},
    "cabm": {"cabm", "uniform"},
}


def test_there_is_a_file_of_each_kind():
    assert {path.stem for path in FOLDER.glob("*.safetensors")} == {*GRIDS, "outputs"}


@pytest.mark.parametrize("name", GRIDS)
def test_gives_the_picture_that_it_gave(name: str):
    outputs = load_file(FOLDER / "outputs.safetensors")
    with torch.no_grad():
        upscaled = load(FOLDER / f"{name}.safetensors").network(outputs["picture"])
    assert torch.allclose(upscaled, outputs[name], rtol=0, atol=1e-5), "one grey level is 4e-3"


@pytest.mark.parametrize("path", sorted((FOLDER.parent / "version4").glob("*.safetensors")), ids=lambda path: path.stem)
def test_version_4_gives_the_picture_that_it_gave(path: Path):
    outputs = load_file(FOLDER / "outputs.safetensors")
    with torch.no_grad():
        upscaled = load(path).network(outputs["picture"])
    assert torch.allclose(upscaled, outputs[path.stem], rtol=0, atol=1e-5), "one grey level is 4e-3"


@pytest.mark.parametrize("name", GRIDS)
def test_saved_again_it_has_the_same_tensors_and_all_kinds(name: str, tmp_path: Path):
    model = load(FOLDER / f"{name}.safetensors")
    save(model, tmp_path / "today.safetensors")
    before, after = load_file(FOLDER / f"{name}.safetensors"), load_file(tmp_path / "today.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before if key != "sha256")
    with safe_open(tmp_path / "today.safetensors", "pt") as file:
        assert '"version":5' in file.metadata()["srquant"]
    assert {grid.kind for spec in model.specs.values() for grid in spec.grids.values()} == GRIDS[name]


def test_an_unknown_field_is_refused():
    with pytest.raises(QuantizedFileError, match=r"unknown fields .*colour"):
        from_version_3({"name": "body.0", "activation_bits": 4, "colour": 1}, {})
