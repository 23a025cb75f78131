"""Networks that extend pictures to a multiple themselves run in OpenVINO at any size."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from srquant.models.wrap import wrap
from srquant.upscale.engines.open_engine import open_engine


class ExtendsToEight(nn.Module):
    """As the official SwinIR: reflection up to a multiple of 8, cut off again at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.tail = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 12, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        extended = nn.functional.pad(images, (0, (8 - width % 8) % 8, 0, (8 - height % 8) % 8), "reflect")
        upscaled = nn.functional.pixel_shuffle(self.tail(torch.relu(self.head(extended))), 2)
        return upscaled[:, :, : 2 * height, : 2 * width]


@pytest.mark.parametrize("size", [(16, 24), (19, 30)])
def test_the_picture_is_the_same(size):
    network = wrap(ExtendsToEight().eval(), 2)
    images = np.random.default_rng(0).random((1, 3, *size), np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(open_engine("openvino", network)(images), expected, atol=1e-6)
