"""Scores of the officially released weights on Set5, wherever somebody has them.

They are looked for below ``$SRQUANT_SHARED/weights/official`` under the names that their projects released them with.
"""

from functools import partial

import pytest

from srquant.data.benchmark import BenchmarkSet
from srquant.measure.quality.scores import Report, evaluate
from srquant.models.load import load_model
from srquant.upscale.engines.torch_engine import TorchEngine
from srquant.upscale.tiles.upscale_tiles import upscale_tile

FLOAT_SET5_X4 = {
    "edsr_baseline_x4-6b446fab.pt": 32.10,
    "RDN_BIX4.pt": 32.24,
    "002_lightweightSR_DIV2K_s64w8_SwinIR-S_x4.pth": 32.45,
    "bnsrresnet_x4.pt": 31.86,
}
"""Float rows of the papers; their CARN (31.95) was never released."""


@pytest.fixture
def set5(shared):
    def measure(name: str) -> Report:
        path = shared / "weights" / "official" / name
        if not path.exists():
            pytest.skip(f"needs the officially released weights as {path}")
        network = load_model(path, 4)
        return evaluate(partial(upscale_tile, TorchEngine(network)), BenchmarkSet(shared / "data" / "Set5", 4), "torch")

    return measure


@pytest.mark.parametrize(("name", "psnr"), FLOAT_SET5_X4.items(), ids=FLOAT_SET5_X4)
def test_float_psnr(set5, name, psnr):
    assert set5(name).psnr_y == pytest.approx(psnr, abs=0.03)


def test_both_ssim_of_edsr_baseline(set5):
    report = set5("edsr_baseline_x4-6b446fab.pt")
    assert report.ssim_a == pytest.approx(0.8938, abs=0.0005)
    assert report.ssim_b == pytest.approx(0.894, abs=0.001)
