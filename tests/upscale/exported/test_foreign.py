"""Models that other tools exported: what can be found out is used, the rest is refused with a reason."""

from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from openvino import opset13 as ops
from torch import nn

from srquant.deploy.onnx.model import save_onnx, to_onnx
from srquant.deploy.openvino.model import save_openvino, to_openvino
from srquant.errors import ExportedFileError
from srquant.models.load import build
from srquant.models.network import Network
from srquant.models.wrap import wrap
from srquant.upscale.exported.foreign import bytes_per_pixel
from srquant.upscale.exported.open_exported import open_exported
from srquant.upscale.tiles.tiling import measure_tiling
from srquant.upscale.tiles.upscale_tiles import upscale_array, upscale_whole

RRDB_X2 = {"blocks": 1, "features": 8, "growth": 4, "scale": 2, "unshuffle": 2}
SUFFIXES = pytest.mark.parametrize("suffix", [".xml", ".onnx"])


def plain(network: Network, path: Path) -> Path:
    """Export without facts, as other tools do."""
    if path.suffix == ".xml":
        save_openvino(to_openvino(network), path)
    else:
        save_onnx(to_onnx(network), path)
    return path


def conv_shuffle(path: Path, shape: list[int | str], kind: int = TensorProto.FLOAT, outputs: int = 1) -> Path:
    """An ONNX model of a 3x3 convolution and a pixel shuffle by 2, x2, with names of its own."""
    channels = shape[1] if isinstance(shape[1], int) else 3
    dtype = {TensorProto.FLOAT: np.float32, TensorProto.FLOAT16: np.float16}[kind]
    weight = np.random.default_rng(0).normal(size=(4 * channels, channels, 3, 3)).astype(dtype)
    nodes = [
        helper.make_node("Conv", ["lr", "w"], ["features"], pads=[1, 1, 1, 1]),
        helper.make_node("DepthToSpace", ["features"], ["hr"], blocksize=2, mode="CRD"),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("lr", kind, shape)],
        [helper.make_tensor_value_info(name, kind, None) for name in ("hr", "features")[:outputs]],
        [numpy_helper.from_array(weight, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@SUFFIXES
def test_scale_and_multiple_are_found(tmp_path, suffix):
    edsr, rrdb = build("edsr", {"blocks": 1, "features": 8, "scale": 3}), build("rrdbnet", RRDB_X2)
    facts = [open_exported(plain(n, tmp_path / f"{i}{suffix}")).facts for i, n in enumerate((edsr, rrdb))]
    assert [(f.architecture, f.scale, f.multiple_of) for f in facts] == [("unknown", 3, 1), ("unknown", 2, 2)]


@SUFFIXES
def test_overlap_is_measured_and_tiles_fit_together(tmp_path, suffix):
    torch.manual_seed(0)
    network = build("edsr", {"blocks": 2, "features": 8, "scale": 2})
    running = open_exported(plain(network, tmp_path / f"m{suffix}"), threads=1)
    assert 1 <= running.tiling.overlap <= measure_tiling(network).overlap
    assert not running.tiling.exact
    whole, tiled = upscale_whole(running, image(70, 60)), upscale_array(running, image(70, 60), 20)
    assert abs(whole.astype(int) - tiled).max() <= 1


def test_names_of_other_tools(tmp_path):
    running = open_exported(conv_shuffle(tmp_path / "m.onnx", ["n", 3, "h", "w"]))
    assert (running.facts.scale, running.tiling.overlap, running.fab, running.quantized_layers) == (2, 1, None, ())
    assert upscale_array(running, image(9, 11)).shape == (18, 22, 3)


def fixed(tmp_path: Path, suffix: str, side: int) -> tuple[Path, Path]:
    """A model for pictures of one size, and the same for all sizes."""
    if suffix == ".onnx":
        return (
            conv_shuffle(tmp_path / "fixed.onnx", [1, 3, side, side]),
            conv_shuffle(tmp_path / "any.onnx", [1, 3, "h", "w"]),
        )
    model = to_openvino(wrap(nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2)), 2))
    save_openvino(model, tmp_path / "any.xml")
    model.reshape([1, 3, side, side])
    save_openvino(model, tmp_path / "fixed.xml")
    return tmp_path / "fixed.xml", tmp_path / "any.xml"


@SUFFIXES
@pytest.mark.parametrize("size", [(32, 32), (20, 50), (71, 90), (33, 32), (1, 100)])
def test_fixed_sizes_become_tiles(tmp_path, suffix, size):
    small, whole = map(open_exported, fixed(tmp_path, suffix, 32))
    assert (small.tiling.largest, small.facts.smallest, whole.tiling.largest) == (32, 32, None)
    result, expected = upscale_whole(small, image(*size)), upscale_whole(whole, image(*size))
    assert result.shape == expected.shape
    inside = (slice(0, -2), slice(0, -2))  # small pictures are padded below and on the right
    np.testing.assert_array_equal(result[inside], expected[inside])


def test_memory_of_unknown_networks_is_that_of_a_large_one():
    assert bytes_per_pixel(4) >= measure_tiling(build("rrdbnet", {"blocks": 1})).bytes_per_pixel


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ([1, 1, "h", "w"], "takes 1 x 1 x any x any, need N x 3 x H x W"),
        ([1, 4, "h", "w"], "takes 1 x 4 x any x any"),
        ([2, 3, "h", "w"], "takes 2 x 3 x any x any"),
        ([1, 3, 32, 48], "takes pictures of 32 x 48 pixels only; export it with a height and width that may vary"),
        ([1, 3, 32, "w"], "takes pictures of 32 x any pixels only"),
        ([1, 3, 8, 8], "takes pictures of 8 x 8 pixels only"),
    ],
)
def test_other_shapes_are_refused(tmp_path, shape, reason):
    with pytest.raises(ExportedFileError, match=reason):
        open_exported(conv_shuffle(tmp_path / "m.onnx", shape))


def test_other_numbers_are_refused(tmp_path):
    with pytest.raises(ExportedFileError, match=r"takes tensor\(float16\), need float32; export it with float32"):
        open_exported(conv_shuffle(tmp_path / "m.onnx", [1, 3, "h", "w"], TensorProto.FLOAT16))


def test_several_outputs_are_refused(tmp_path):
    with pytest.raises(ExportedFileError, match="has 1 inputs and 2 outputs; export"):
        open_exported(conv_shuffle(tmp_path / "m.onnx", [1, 3, "h", "w"], outputs=2))


def save_graph(path: Path, kind: openvino.Type, shape: list[int], body) -> Path:
    image = ops.parameter(openvino.PartialShape(shape), kind, "image")
    openvino.save_model(openvino.Model([body(image)], [image], "net"), path, compress_to_fp16=False)
    return path


def test_openvino_with_channels_last_is_refused(tmp_path):
    path = save_graph(tmp_path / "m.xml", openvino.Type.f32, [1, -1, -1, 3], lambda x: ops.add(x, np.float32(1)))
    with pytest.raises(ExportedFileError, match=r"takes 1 x any x any x 3, need N x 3 x H x W; .*the channels first"):
        open_exported(path)


def test_openvino_with_bytes_is_refused(tmp_path):
    path = save_graph(tmp_path / "m.xml", openvino.Type.u8, [1, 3, -1, -1], lambda x: ops.add(x, np.uint8(1)))
    with pytest.raises(ExportedFileError, match="takes u8, need float32"):
        open_exported(path)


def test_a_network_that_gives_no_picture_is_refused(tmp_path):
    path = save_graph(
        tmp_path / "m.xml",
        openvino.Type.f32,
        [1, 3, -1, -1],
        lambda x: ops.reduce_mean(ops.add(x, np.float32(1)), np.array([2, 3]), keep_dims=True),
    )
    with pytest.raises(ExportedFileError, match=r"makes 1 x 3 x 1 x 1 of 1 x 3 x .*need 1 x 3 x scale"):
        open_exported(path)
