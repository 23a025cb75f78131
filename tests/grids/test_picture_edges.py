"""Edge score and mean gradients against slow, literal computations."""

import numpy as np
import torch
from scipy.ndimage import correlate

from srquant.grids.picture_density import gradient_density
from srquant.grids.picture_edges import edge_score, mean_gradients


def literal_edge_score(pixels: np.ndarray) -> float:
    """OpenCV's steps on ``H x W x 3`` uint8 RGB: BGR2GRAY, Laplacian of size 3 in int16, absolute value as uint8."""
    red, green, blue = (pixels[..., i].astype(np.int64) for i in range(3))
    gray = ((9798 * red + 19235 * green + 3735 * blue + (1 << 14)) >> 15).astype(np.int16)
    kernel = np.array([[2, 0, 2], [0, -8, 0], [2, 0, 2]], np.int16)
    laplacian = correlate(gray, kernel, mode="mirror")
    return float(np.clip(np.abs(laplacian), 0, 255).astype(np.uint8).mean())


def test_edge_score_is_that_of_whole_numbers():
    pixels = np.random.default_rng(3).integers(0, 256, (2, 90, 130, 3), np.uint8)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    assert edge_score(images).tolist() == [literal_edge_score(picture) for picture in pixels]


def test_edge_score_of_a_dot_is_known():
    """A dot of 10 among zeros: 80 at the dot, 20 at each diagonal neighbour; 160 over 25 pixels."""
    images = torch.zeros(1, 3, 5, 5)
    images[..., 2, 2] = 10 / 255
    assert edge_score(images).item() == 160 / 25


def test_bright_edges_saturate():
    images = torch.zeros(1, 3, 5, 5)
    images[..., 2, 2] = 1.0
    assert edge_score(images).item() == 5 * 255 / 25


def test_gradients_along_each_axis():
    ramp = torch.linspace(0, 1, 11).expand(1, 3, 7, 11)
    along_x, along_y = mean_gradients(ramp)[0].tolist()
    assert along_y == 0.0
    assert abs(along_x - 0.1 * 10 / 11) < 1e-6
    assert mean_gradients(ramp.transpose(2, 3))[0].tolist() == [along_y, along_x]


def test_density_is_the_mean_of_both():
    images = torch.rand(3, 3, 8, 9)
    assert torch.allclose(gradient_density(images), 1000 * mean_gradients(images).mean(1), rtol=1e-5)


def test_pictures_are_rounded_to_8_bits_and_clamped():
    levels = torch.randint(1, 255, (1, 3, 6, 7)).float()
    levels[..., 0, 0], levels[..., 5, 6] = 0, 255
    off = torch.rand(levels.shape) * 0.9 - 0.45
    off[..., 0, 0], off[..., 5, 6] = -20, 20
    assert torch.equal(edge_score((levels + off) / 255), edge_score(levels / 255))
