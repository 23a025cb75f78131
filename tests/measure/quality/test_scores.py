"""Reports have the promised numbers and keys; published numbers come out."""

import json

import numpy as np
import pytest
import pyvips
import torch

from srquant.data.benchmark import BenchmarkSet
from srquant.data.resize import _weights, upscale
from srquant.errors import ImageError
from srquant.measure.quality.metrics import _similarity, luminance, psnr_y, ssim
from srquant.measure.quality.scores import evaluate
from srquant.models.load import load_model

RANDOM = np.random.default_rng(0)


@pytest.fixture
def benchmark(tmp_path):
    (tmp_path / "Tiny" / "HR").mkdir(parents=True)
    for name in "ab":
        image = pyvips.Image.new_from_array(RANDOM.integers(0, 256, (40, 60, 3), np.uint8), interpretation="srgb")
        image.write_to_file(str(tmp_path / "Tiny" / "HR" / f"{name}.png"))
    return BenchmarkSet(tmp_path / "Tiny", 2)


def nearest(image):
    return image.repeat(2, 0).repeat(2, 1)


def test_scores_are_those_of_the_metrics(benchmark):
    report = evaluate(nearest, benchmark, "none")
    for sample, score in zip(benchmark, report.images, strict=True):
        sr = nearest(sample.low)
        assert score.name == sample.name
        assert score.psnr_y == psnr_y(sr, sample.high, 2)
        assert (score.ssim_a, score.ssim_b) == (ssim(sr, sample.high, 2, "A"), ssim(sr, sample.high, 2, "B"))


def test_set_scores_are_means_over_pictures(benchmark):
    report = evaluate(nearest, benchmark, "none")
    for key in ("psnr_y", "ssim_a", "ssim_b"):
        assert getattr(report, key) == pytest.approx(np.mean([getattr(i, key) for i in report.images]), abs=1e-15)


def test_json_has_exactly_the_promised_keys(benchmark):
    values = json.loads(json.dumps(evaluate(nearest, benchmark, "openvino", fab=4.0).to_json()))
    assert list(values) == ["dataset", "scale", "engine", "psnr_y", "ssim_a", "ssim_b", "fab", "images"]
    assert [values[k] for k in ("dataset", "scale", "engine", "fab")] == ["Tiny", 2, "openvino", 4.0]
    assert [list(image) for image in values["images"]] == [["name", "psnr_y", "ssim_a", "ssim_b"]] * 2


def test_an_infinite_psnr_is_null_in_json(benchmark):
    truth = {sample.low.tobytes(): sample.high for sample in benchmark}
    report = evaluate(lambda low: truth[low.tobytes()], benchmark, "oracle")
    assert report.psnr_y == float("inf")
    assert report.to_json()["psnr_y"] is None
    assert json.dumps(report.to_json(), allow_nan=False)


def test_patches_are_upscaled_one_by_one(benchmark):
    sizes = []

    def upscaler(image):
        sizes.append(image.shape[:2])
        return nearest(image)

    assert evaluate(upscaler, benchmark, "none", patch=12) == evaluate(nearest, benchmark, "none")
    assert sizes == [(20, 12), (20, 18)] * 2


def test_a_result_of_another_size_names_the_picture(benchmark):
    with pytest.raises(ImageError, match="a: can't compare"):
        evaluate(lambda image: image, benchmark, "none")


@pytest.mark.parametrize(("scale", "psnr", "similarity"), [(2, 33.66, 0.9299), (4, 28.42, 0.8104)])
def test_published_bicubic_numbers(shared, scale, psnr, similarity):
    """The published rows were made on luminance rounded to 8 bit, its low resolution unrounded: exact to all digits."""

    def bicubic(y, height, width):
        return _weights(y.shape[0], height) @ y @ _weights(y.shape[1], width).T

    errors, similarities = [], []
    for sample in BenchmarkSet(shared / "data" / "Set5", scale):
        high = np.round(luminance(sample.high))
        low = bicubic(high, *sample.low.shape[:2])
        pair = np.round(bicubic(low, *high.shape))[scale:-scale, scale:-scale], high[scale:-scale, scale:-scale]
        errors.append(20 * np.log10(255 / np.sqrt(np.mean((pair[0] - pair[1]) ** 2))))
        similarities.append(_similarity(*pair)[5:-5, 5:-5].mean())
    assert round(float(np.mean(errors)), 2) == psnr
    assert round(float(np.mean(similarities)), 4) == similarity


@pytest.mark.parametrize(("scale", "psnr", "similarity"), [(2, 33.66, 0.9299), (4, 28.42, 0.8104)])
def test_bicubic_in_colour_is_near_the_published_numbers(shared, scale, psnr, similarity):
    """Enlarging 8-bit RGB gives 33.673 / 0.9303 and 28.429 / 0.8111: the published path is on luminance alone."""
    report = evaluate(lambda low: upscale(low, scale), BenchmarkSet(shared / "data" / "Set5", scale), "bicubic")
    assert 0 <= report.psnr_y - psnr < 0.015
    assert 0 <= report.ssim_a - similarity < 0.001


def test_a_pretrained_network_has_its_known_psnr(shared):
    network = load_model(shared / "weights" / "edsr" / "edsr_r8f64_x2.pt").eval()

    def upscaler(image):
        with torch.inference_mode():
            result = network(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255)
        return (result[0].permute(1, 2, 0).clip(0, 1) * 255).round().byte().numpy()

    report = evaluate(upscaler, BenchmarkSet(shared / "data" / "Set5", 2), "torch")
    assert report.psnr_y == pytest.approx(37.80, abs=0.005)
    patched = evaluate(upscaler, BenchmarkSet(shared / "data" / "Set5", 2), "torch", patch=96)
    assert 0 < report.psnr_y - patched.psnr_y < 0.1  # what zero padding costs at the seams
