"""What an OpenVINO model does when it can't be compiled."""

import numpy as np
import pytest

from srquant.deploy.openvino.model import to_openvino
from srquant.deploy.openvino.session import Session
from srquant.errors import EngineError
from srquant.upscale.tiles.upscale_tiles import is_out_of_memory


class Full:
    """A core whose machine has no memory left."""

    def __init__(self, says):
        self.says = says

    def compile_model(self, *arguments):
        raise RuntimeError(f"Exception from src/inference/src/cpp/core.cpp:117:\n{self.says}\n")


@pytest.mark.parametrize(
    ("says", "smaller_tiles"), [("std::bad_alloc", True), ("Resource temporarily unavailable", False)]
)
def test_a_machine_without_memory_is_named(tiny, says, smaller_tiles):
    session = Session(to_openvino(tiny("edsr")))
    session.core = Full(says)
    with pytest.raises(EngineError, match=rf"can't compile the network for pictures of 8x12 \({says}\)") as raised:
        session(np.zeros((1, 3, 8, 12), np.float32))
    assert is_out_of_memory(raised.value) == smaller_tiles
