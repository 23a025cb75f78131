"""The fair table: what is compared with what."""

import json

import pytest
from fair import best, finished, line


@pytest.fixture
def runs(tmp_path):
    """Finished runs of one network: label, method, bits, seed, PSNR on Set5; Set14 is 4 dB lower."""

    def write(*found):
        folder = tmp_path / "edsr"
        folder.mkdir()
        for number, (label, method, bits, seed, psnr) in enumerate(found):
            scores = [{"set": "Set5", "psnr_y": psnr}, {"set": "Set14", "psnr_y": psnr - 4}]
            run = {"label": label, "method": method, "bits": bits, "seed": seed}
            (folder / f"{number}.json").write_text(json.dumps({"run": run, "result": {"scores": scores}}))
        return finished(tmp_path, "edsr")

    return write


def test_the_loss_is_that_of_the_best_published_method_without_our_rounding(runs):
    by_bits = runs(
        ("float", "float", 32, 0, 38.0),
        ("gba relative", "gba", 4, 0, 37.4),
        ("gba relative, compensated", "gba", 4, 0, 37.9),
        ("adabm", "adabm", 4, 0, 37.0),
        ("mse, corrected", "mse", 4, 0, 37.5),
        ("distill", "distill", 4, 0, 37.6),
        ("distill", "distill", 4, 1, 37.8),
        ("distill, grids per channel", "distill", 4, 0, 37.75),
    )
    found = line("edsr", 4, by_bits[4], best(by_bits[32]))
    assert found.published == "37.40 / 33.40 (1), gba relative"
    assert found.rounded == "37.50 / 33.50 (1), mse, corrected"
    assert found.tensor == "37.70 / 33.70 (2)"
    assert found.share == pytest.approx(0.25 / 0.6, abs=1e-3)
    assert (found.quick, found.long) == ("", "")


def test_without_a_published_method_there_is_no_share(runs):
    by_bits = runs(("float", "float", 32, 0, 38.0), ("distill", "distill", 2, 0, 37.0))
    assert line("edsr", 2, by_bits[2], best(by_bits[32])).share is None
