"""Values that are not finite stop the work, and the layer is named."""

import copy

import numpy as np
import pytest
import torch

from srquant.errors import EngineError
from srquant.upscale.engines.not_finite import first_not_finite
from srquant.upscale.engines.open_engine import open_engine
from srquant.upscale.exported.open_exported import open_exported
from srquant.upscale.exported.write import export_model
from srquant.upscale.tiles.upscale_tiles import upscale_array

PICTURE = np.full((12, 14, 3), 128, np.uint8)


@pytest.fixture(params=[np.inf, 1e38])
def broken(network, request):
    """One weight in the middle is infinite, or so large that sums are."""
    copied = copy.deepcopy(network)
    with torch.no_grad():
        copied.module.get_parameter("body.0.body.2.weight").fill_(request.param)
    return copied


@pytest.mark.parametrize("name", ["torch", "openvino", "onnxruntime"])
def test_the_layer_is_named(broken, name):
    with pytest.raises(EngineError, match=r"layer 'body\.0\.body\.2' of the network gives values that are not finite"):
        upscale_array(open_engine(name, broken), PICTURE)


def test_an_exported_file_has_no_layers_to_name(broken, tmp_path):
    export_model(broken, tmp_path / "broken.onnx")
    with pytest.raises(EngineError, match="the network gives values that are not finite"):
        upscale_array(open_exported(tmp_path / "broken.onnx"), PICTURE)


def test_a_whole_network_has_no_such_layer(network):
    assert first_not_finite(network, np.zeros((1, 3, 8, 8), np.float32)) is None
