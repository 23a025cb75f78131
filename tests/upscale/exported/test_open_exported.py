"""Exported files compute what the engine computes that is opened with the network."""

import copy
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest
import torch

from srquant.data.calibration import CalibrationSet
from srquant.deploy.export.record import KEY
from srquant.deploy.file.save_load import load, save
from srquant.deploy.frozen.freeze import FrozenModel, freeze
from srquant.deploy.openvino.float_precision import has_bfloat16
from srquant.errors import ExportedFileError, InputError, OutputError
from srquant.insertion.policy import LayerBits, Policy
from srquant.measure.cost.layer_costs import fab
from srquant.methods.registry import METHODS
from srquant.models.load import build, load_model
from srquant.models.network import Network
from srquant.models.packaged import find_model
from srquant.upscale.engines.open_engine import open_engine
from srquant.upscale.exported.open_exported import open_exported
from srquant.upscale.exported.write import export_for_tensorrt, export_model, record_of
from srquant.upscale.tiles.upscale_tiles import upscale_array

ENGINES = {".xml": "openvino", ".onnx": "onnxruntime"}
SUFFIXES = pytest.mark.parametrize("suffix", ENGINES)

NETWORKS = {
    "packaged": None,
    "swinir": {"depths": [2], "heads": 2, "features": 8, "hidden": 16, "scale": 2, "window": 4},
    "rrdbnet": {"blocks": 1, "features": 8, "growth": 4, "scale": 2, "unshuffle": 2},
    "rlfn": {"blocks": 1, "features": 8, "scale": 2},
}


@pytest.fixture(scope="module")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> CalibrationSet:
    from PIL import Image

    folder = tmp_path_factory.mktemp("calibration")
    for i in range(2):
        pixels = np.random.default_rng(i).integers(0, 256, (4, 5, 3), np.uint8)
        Image.fromarray(pixels).resize((40, 32), Image.Resampling.BICUBIC).save(folder / f"{i}.png")
    return CalibrationSet(folder, count=2, patch=24)


@pytest.fixture(scope="module")
def reloaded(calibration: CalibrationSet, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], FrozenModel]:
    """A network at 8 bit, from its quantized file."""

    @cache
    def make(name: str) -> FrozenModel:
        arguments = NETWORKS[name]
        network = load_model(find_model(Path("edsr_small_x2"))) if arguments is None else build(name, arguments)
        method, policy = METHODS["minmax"], Policy(LayerBits(8, 8), kinds=("conv", "linear", "matmul"))
        path = tmp_path_factory.mktemp("quantized") / f"{name}.safetensors"
        save(freeze(method.quantize(network, calibration, policy, method.config())), path)
        return load(path)

    return make


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)


def export(network: Network, path: Path) -> Path:
    export_model(network, path)
    return path


@SUFFIXES
@pytest.mark.parametrize("name", NETWORKS)
def test_bits_are_those_of_the_quantized_file(reloaded, tmp_path, name, suffix):
    network = reloaded(name).network
    direct = open_engine(ENGINES[suffix], network, 1)
    exported = open_exported(export(network, tmp_path / f"m{suffix}"), threads=1)
    assert exported.name == direct.name
    assert exported.tiling == direct.tiling
    for attribute in ("architecture", "scale", "smallest", "multiple_of"):
        assert getattr(exported.facts, attribute) == getattr(direct.facts, attribute)
    images = np.random.default_rng(0).random((1, 3, 24, 32), np.float32)
    np.testing.assert_array_equal(exported(images), direct(images))
    for image, tile in ((picture(33, 41), "auto"), (picture(70, 31), 16)):
        np.testing.assert_array_equal(upscale_array(exported, image, tile), upscale_array(direct, image, tile))


def test_files_for_one_size_upscale_in_tiles(reloaded, tmp_path):
    network = reloaded("packaged").network
    export_for_tensorrt(network, tmp_path / "m.onnx", 80, 80)
    exported, whole = open_exported(tmp_path / "m.onnx", threads=1), open_engine("onnxruntime", network, 1)
    assert (exported.tiling.largest, exported.facts.smallest) == (80, 80)
    assert exported.tiling.overlap == whole.tiling.overlap
    image = picture(110, 94)
    np.testing.assert_array_equal(upscale_array(exported, image), upscale_array(whole, image))


@SUFFIXES
def test_bits_of_layers_are_in_the_file(reloaded, tmp_path, suffix):
    network = reloaded("packaged").network
    exported = open_exported(export(network, tmp_path / f"m{suffix}"), threads=1)
    assert exported.record == record_of(network)
    assert exported.fab == fab(network) == 8
    assert {(layer.weight_bits, layer.activation_bits) for layer in exported.quantized_layers} == {(8, 8)}
    assert exported.float_layers() == open_engine(ENGINES[suffix], network, 1).float_layers()
    assert exported.precision() in ("int8", "mixed", "float32")


@SUFFIXES
def test_fingerprints_tell_files_apart(engine, tmp_path, suffix):
    path = export(engine.network, tmp_path / f"m{suffix}")
    before = open_exported(path).fingerprint()
    assert open_exported(path).fingerprint() == before
    other = copy.deepcopy(engine.network)
    with torch.no_grad():
        other.module.get_parameter("head.0.weight")[0, 0, 0, 0] += 0.5
    assert open_exported(export(other, path)).fingerprint() != before


@SUFFIXES
def test_another_engine_is_refused(engine, tmp_path, suffix):
    path = export(engine.network, tmp_path / f"m{suffix}")
    assert open_exported(path, ENGINES[suffix]).name == ENGINES[suffix]
    with pytest.raises(InputError, match=f"--engine torch: .*use --engine {ENGINES[suffix]} or auto"):
        open_exported(path, "torch")


@pytest.mark.parametrize("name", ["no.xml", "no.onnx", "picture.png"])
def test_missing_files_are_named(tmp_path, name):
    with pytest.raises(ExportedFileError, match=f"{name}: no such file; give an exported model"):
        open_exported(tmp_path / name)


def test_other_suffixes_are_not_written(engine, tmp_path):
    with pytest.raises(OutputError, match=r"m\.engine: the suffix decides"):
        export_model(engine.network, tmp_path / "m.engine")


@pytest.mark.parametrize(
    ("damaged", "words"),
    [("m.xml", "OpenVINO can't read"), ("m.bin", "OpenVINO can't read"), ("m.onnx", "ONNX Runtime")],
)
@pytest.mark.parametrize(
    "content", [lambda whole: whole[: len(whole) // 3], lambda whole: b"", lambda whole: b"PK" * 99]
)
def test_damaged_files_are_named(engine, tmp_path, damaged, words, content):
    path = export(engine.network, tmp_path / ("m.onnx" if damaged == "m.onnx" else "m.xml"))
    (tmp_path / damaged).write_bytes(content((tmp_path / damaged).read_bytes()))
    with pytest.raises(ExportedFileError, match=rf"m\.(xml|onnx): {words}.*export it again"):
        open_exported(path)


def test_weights_of_another_model_are_named(engine, tmp_path):
    for name in ("a", "b"):
        export_model(engine.network, tmp_path / f"{name}.xml")
    other = bytearray((tmp_path / "b.bin").read_bytes())
    other[len(other) // 2] ^= 1
    (tmp_path / "a.bin").write_bytes(other)
    with pytest.raises(ExportedFileError, match=r"a\.xml: the weights in a\.bin are another model's; export it again"):
        open_exported(tmp_path / "a.xml")
    assert open_exported(tmp_path / "b.xml").name == "openvino"


def test_missing_weights_are_named(engine, tmp_path):
    path = export(engine.network, tmp_path / "m.xml")
    (tmp_path / "m.bin").unlink()
    with pytest.raises(ExportedFileError, match=r"m.xml: its weights are missing; copy m\.bin"):
        open_exported(path)


def with_record(path: Path, change: Callable[[str], str]) -> Path:
    """Change what an exported file says about its network."""
    if path.suffix == ".onnx":
        model = onnx.load(path)
        (entry,) = [entry for entry in model.metadata_props if entry.key == KEY]
        entry.value = change(entry.value)
        onnx.save(model, path)
    else:
        model = openvino.Core().read_model(path)
        model.set_rt_info(change(model.get_rt_info(KEY).astype(str)), KEY)
        target = path.with_name("changed.xml")
        openvino.save_model(model, target, compress_to_fp16=False)
        return target
    return path


@SUFFIXES
def test_damaged_facts_are_named(engine, tmp_path, suffix):
    path = export(engine.network, tmp_path / f"m{suffix}")
    with pytest.raises(ExportedFileError, match=r"field 'overlap' is -1, need .*; export it again"):
        open_exported(with_record(path, lambda text: text.replace('"overlap":', '"overlap":-1,"x":')))


@SUFFIXES
def test_a_wrong_scale_is_found(engine, tmp_path, suffix):
    path = export(engine.network, tmp_path / f"m{suffix}")
    with pytest.raises(ExportedFileError, match="upscales by 2, but says 3 of itself"):
        open_exported(with_record(path, lambda text: text.replace('"scale":2', '"scale":3')))


@pytest.mark.skipif(not has_bfloat16(), reason="this processor has no bfloat16")
def test_an_exported_file_in_bfloat16(engine, tmp_path):
    path = export(engine.network, tmp_path / "m.xml")
    images = np.random.default_rng(0).random((1, 3, 24, 32), np.float32)
    found, exact = (open_exported(path, threads=1, float_precision=precision) for precision in ("bf16", "f32"))
    assert found.name == "openvino bfloat16"
    assert found.fingerprint() != exact.fingerprint()
    assert 1e-5 < np.abs(found(images) - exact(images)).max() < 0.05


def test_onnx_files_have_no_float_precision(engine, tmp_path):
    with pytest.raises(InputError, match=r"--float-precision bf16: .* runs in onnxruntime"):
        open_exported(export(engine.network, tmp_path / "m.onnx"), float_precision="bf16")
