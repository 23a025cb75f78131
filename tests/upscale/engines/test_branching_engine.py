"""Networks of three branches in tiles: one decision per picture."""

import numpy as np
import pytest
import torch
from PIL import Image

from srquant.grids.picture_density import gradient_density
from srquant.insertion.branched_network import BranchedNetwork
from srquant.measure.quality.patches import in_patches
from srquant.models.architectures.edsr import EDSR, facts
from srquant.models.network import Network
from srquant.upscale.engines.branching_engine import BAND, BranchingEngine, engine_for, rows_density
from srquant.upscale.engines.open_engine import open_engine
from srquant.upscale.engines.torch_engine import TorchEngine
from srquant.upscale.jobs.one_picture import upscale_file
from srquant.upscale.pictures.rows import ArrayRows
from srquant.upscale.tiles.upscale_tiles import upscale_array, upscale_tile


@pytest.fixture(scope="module")
def engine() -> BranchingEngine:
    """Three networks that have nothing in common, so that a wrong branch is seen."""
    torch.manual_seed(0)
    branches = tuple(Network(EDSR(1, 8, 2), facts(1, 8, 2)).eval() for _ in range(3))
    made = open_engine("torch", BranchedNetwork(branches, torch.tensor([20.0, 60.0])))
    assert isinstance(made, BranchingEngine)
    return made


def half_plain(height=40, width=56):
    """Noise in the upper half, nothing below: tiles alone would take different branches."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    pixels[height // 2 :] = 90
    return pixels


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("height", "bands"), [(1, 3), (BAND, 3), (BAND + 1, 1), (2 * BAND + 3, 3)])
def test_a_picture_read_in_bands_has_the_density_of_the_whole(height, bands, dtype):
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (height, 7, bands), dtype, endpoint=True)
    images = torch.from_numpy(pixels.astype(np.float32) / np.float32(np.iinfo(dtype).max)).permute(2, 0, 1)
    assert torch.equal(rows_density(ArrayRows(pixels)), gradient_density(images.expand(3, -1, -1)[None]))


@pytest.mark.parametrize("tile", [1, 8, 13])
def test_tiled_equals_untiled(engine, tile):
    picture = half_plain()
    whole = upscale_tile(engine, picture)
    assert np.array_equal(upscale_array(engine, picture, tile), whole)
    assert np.array_equal(whole, upscale_tile(engine.branch(0), picture))


def test_patches_choose_their_own_branch(engine):
    picture = half_plain()
    patched = in_patches(lambda patch: upscale_tile(engine, patch), 2, 20)(picture)
    assert np.array_equal(patched[:40], in_patches(lambda p: upscale_tile(engine.branch(1), p), 2, 20)(picture)[:40])
    assert np.array_equal(patched[40:], in_patches(lambda p: upscale_tile(engine.branch(-1), p), 2, 20)(picture)[40:])


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_files_are_decided_as_a_whole(engine, tmp_path, mode):
    Image.fromarray(half_plain()).convert(mode).save(tmp_path / "in.png")
    upscale_file(engine, tmp_path / "in.png", tmp_path / "tiled.png", tile=8)
    upscale_file(engine.branch(0), tmp_path / "in.png", tmp_path / "middle.png", tile=8)
    assert np.array_equal(*(np.asarray(Image.open(tmp_path / name)) for name in ("tiled.png", "middle.png")))


def test_a_batch_is_taken_apart(engine):
    images = np.stack([np.full((3, 8, 8), 0.3), np.random.default_rng(0).random((3, 8, 8))]).astype(np.float32)
    expected = np.concatenate([engine.branch(-1)(images[:1]), engine.branch(1)(images[1:])])
    assert np.array_equal(engine(images), expected)


def test_other_engines_stay_as_they_are(engine):
    plain = engine.branch(0)
    assert isinstance(plain, TorchEngine)
    assert engine_for(plain, lambda: pytest.fail("the picture was read")) is plain
