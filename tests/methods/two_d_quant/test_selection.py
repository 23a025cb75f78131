"""Choosing the iterate of 2DQuant by true pictures."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from srquant.data.benchmark import BenchmarkSet
from srquant.deploy.file.save_load import load, save
from srquant.deploy.frozen.freeze import freeze
from srquant.errors import DatasetError, PolicyError
from srquant.insertion.policy import LayerBits, Policy
from srquant.measure.quality.validation import mean_psnr
from srquant.methods.options import configure
from srquant.methods.two_d_quant.method import TwoDQuant, dobi_stage, dqc_stage, quantize
from srquant.methods.two_d_quant.selection import BestIterate, luminance_psnr
from srquant.models.load import build

W3A3 = Policy(LayerBits(3, 3), symmetric_weights=False)


def edsr():
    return build("edsr", {"blocks": 1, "features": 6}).eval()


@pytest.fixture
def benchmark(smooth_pictures, tmp_path):
    """Two true pictures; low-resolution ones are made from them."""
    (tmp_path / "Few").mkdir()
    smooth_pictures(2, 32, 40).rename(tmp_path / "Few" / "HR")
    return BenchmarkSet(tmp_path / "Few", 2)


@pytest.mark.parametrize("architecture", [("edsr", {"blocks": 1, "features": 6}), ("rfdn", {"features": 8})])
def test_psnr_is_that_of_evaluate(benchmark, tmp_path, architecture):
    """Also of pictures that are smaller than the network can take."""
    network = build(*architecture)
    data = BenchmarkSet(benchmark.folder, network.facts.scale)
    assert luminance_psnr(network, data) == pytest.approx(mean_psnr(network, [data]), abs=1e-6)


def test_best_iterate_is_kept(benchmark):
    """Four steps, measured after 2 and 4; the network of step 2 is right, that of step 4 is not."""
    network = edsr()
    bias = network.module.tail[1].bias
    best = BestIterate(network, [bias], benchmark, 2, 4)
    right = bias.detach().clone()
    for step, shift in enumerate((900.0, 0.0, 400.0, 500.0), 1):
        with torch.no_grad():
            bias.copy_(right + shift)
        best()
        assert best.step == (0 if step == 1 else 2)
    best.restore()
    assert torch.equal(bias, right)
    assert best.psnr == pytest.approx(luminance_psnr(network, benchmark))


def test_last_iterate_is_measured_too(benchmark):
    network = edsr()
    best = BestIterate(network, [network.module.tail[1].bias], benchmark, 100, 3)
    for _ in range(3):
        best()
    assert best.step == 3


def test_distillation_keeps_the_best(calibration, benchmark):
    """A high rate makes the last iterate worse than an earlier one."""
    options = {"iterations": 12, "batch": 2, "rates": "relative", "learning_rate": 0.3, "schedule": "constant"}
    results = {}
    for truth in (None, benchmark):
        network = edsr()
        student = dobi_stage(network, calibration, W3A3, "paper")
        dqc_stage(student, network, calibration, TwoDQuant(validate_every=1, **options), None, truth)
        results[truth] = luminance_psnr(student, benchmark)
        torch.manual_seed(0)
    assert results[benchmark] >= results[None]


def test_files_say_that_true_pictures_were_used(calibration, benchmark, tmp_path):
    config = configure(TwoDQuant, ["iterations=2", "batch=2", f"validate={benchmark.folder}"])
    save(freeze(quantize(edsr(), calibration, Policy(), config)), tmp_path / "net.safetensors")
    options = load(tmp_path / "net.safetensors").origin.options
    assert options["validate"] == "Few, ground truth: the iterate of the highest PSNR on its true pictures is kept"
    assert str(tmp_path) not in json.dumps(options)


def test_nothing_is_chosen_without_a_set(calibration):
    result = quantize(edsr(), calibration, Policy(), TwoDQuant(iterations=2, batch=2))
    assert result.origin.options["validate"] is None


def test_a_folder_without_true_pictures(calibration, tmp_path):
    with pytest.raises(DatasetError, match="HR"):
        quantize(edsr(), calibration, Policy(), TwoDQuant(iterations=2, batch=2, validate=str(tmp_path)))


def test_there_is_nothing_to_choose_without_dqc():
    with pytest.raises(PolicyError, match="leave validate out"):
        configure(TwoDQuant, ["dqc=false", "validate=Set5"])


def test_measuring_leaves_no_gradients(benchmark):
    network = edsr()
    assert np.isfinite(luminance_psnr(network, benchmark))
    assert all(parameter.grad is None for parameter in network.parameters())
    with Image.open(next((benchmark.folder / "HR").iterdir())) as image:
        assert image.size == (40, 32)
