import numpy as np
import pytest
import torch

from srquant.errors import EngineError, ImageError, InputError
from srquant.measure.quality import further_metrics
from srquant.measure.quality.further_metrics import METRICS, find_metrics, measured

NO_WEIGHTS = [name for name, metric in METRICS.items() if not metric.weights]
LOWER_IS_BETTER = {"gmsd"}


@pytest.fixture(scope="module", autouse=True)
def piq():
    try:
        return further_metrics.import_piq()
    except EngineError:
        pytest.skip("needs piq: pip install 'srquant[metrics]'")


def pictures(side=200):
    generator = np.random.default_rng(0)
    truth = np.kron(generator.integers(40, 216, (side // 4, side // 4, 3)), np.ones((4, 4, 1))).astype(np.uint8)
    noisy = [np.clip(truth + generator.normal(0, sigma, truth.shape), 0, 255).astype(np.uint8) for sigma in (3, 12)]
    return truth, *noisy


@pytest.mark.parametrize("name", NO_WEIGHTS)
def test_more_noise_is_worse(name):
    truth, little, much = pictures()
    better, worse = (measured(METRICS[name], noisy, truth, 2) for noisy in (little, much))
    assert (better < worse) == (name in LOWER_IS_BETTER)
    assert better != worse


def test_psnr_of_all_colours_is_what_it_says():
    truth, noisy, _ = pictures(40)
    inner = np.s_[3:-3, 3:-3]
    error = np.mean((truth[inner].astype(float) - noisy[inner]) ** 2)
    assert measured(METRICS["psnr-rgb"], noisy, truth, 3) == pytest.approx(10 * np.log10(255**2 / error), abs=1e-3)


def test_the_border_does_not_count():
    truth, noisy, _ = pictures(60)
    changed = noisy.copy()
    changed[:2], changed[:, -2:] = 0, 255
    for name in ("psnr-rgb", "gmsd"):
        assert measured(METRICS[name], changed, truth, 2) == measured(METRICS[name], noisy, truth, 2)


def test_a_picture_that_is_too_small_is_named_with_what_it_needs():
    truth, noisy, _ = pictures(160)
    with pytest.raises(ImageError, match="ms-ssim needs 161 pixels per side, and 156 are left"):
        measured(METRICS["ms-ssim"], noisy, truth, 2)


@pytest.mark.parametrize("name", ["lpips", "dists"])
def test_missing_weights_are_named_and_nothing_is_downloaded(name, tmp_path, monkeypatch):
    monkeypatch.setattr(further_metrics, "hub_folder", lambda: tmp_path)
    with pytest.raises(InputError, match=r"vgg16-397923af\.pth, which srquant doesn't download"):
        find_metrics([name])
    assert list(tmp_path.iterdir()) == []


def test_weights_that_hold_code_are_refused(tmp_path, monkeypatch):
    class Odd:
        def __reduce__(self):
            return print, ("never",)

    monkeypatch.setattr(further_metrics, "hub_folder", lambda: tmp_path)
    torch.save({"weight": Odd()}, tmp_path / "vgg16-397923af.pth")
    with pytest.raises(InputError, match="holds more than tensors"):
        find_metrics(["lpips"])


def test_an_unknown_metric_is_refused():
    with pytest.raises(InputError, match="did you mean 'vif'"):
        find_metrics(["vff"])


def test_without_piq_the_extra_is_named(monkeypatch):
    def missing(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(further_metrics.importlib, "import_module", missing)
    monkeypatch.setattr(further_metrics, "declare_missing_operators", lambda: None)
    with pytest.raises(EngineError, match=r"pip install 'srquant\[metrics\]'"):
        find_metrics(["vif"])
