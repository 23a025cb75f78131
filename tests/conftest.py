"""Fixtures that many tests share: pictures, and tiny random networks, quantized without a method."""

import os
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import hypothesis
import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torch import Tensor
from torch.onnx._internal._lazy_import import onnxscript_apis
from torch.onnx._internal.exporter import _registration

from srquant.cli.freed_memory import keep_freed_memory
from srquant.grids.range_rules import minmax, symmetric_max
from srquant.insertion.collect_ranges import Collection, activation_bounds
from srquant.insertion.insert_quantizers import insert_quantizers
from srquant.insertion.plan import resolve
from srquant.insertion.policy import Policy
from srquant.models.load import build
from srquant.models.network import Network

if TYPE_CHECKING:
    from selenium.webdriver.remote.webdriver import WebDriver

QUIET = ("no-first-run", "disable-background-networking", "disable-component-update", "disable-sync", "disable-gpu")
"""Options of Chromium: no traffic of its own."""

keep_freed_memory()
hypothesis.settings.register_profile("repeatable", derandomize=True)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(scope="session", autouse=True)
def one_table_of_onnx_operators() -> Iterator[None]:
    """PyTorch's exporter makes this table anew for every export, which is a third of the time of a tiny network's."""
    table = cache(lambda: onnxscript_apis.get_torchlib_ops())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_registration, "onnxscript_apis", SimpleNamespace(get_torchlib_ops=table))
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of benchmark pictures and pretrained weights, which the project doesn't ship."""
    folder = Path(os.environ.get("SRQUANT_SHARED", Path(__file__).parents[2] / "shared")).resolve()
    if not (folder / "data" / "MANIFEST.md").exists():
        pytest.skip(f"needs benchmark pictures and weights; set SRQUANT_SHARED ({folder} has none)")
    return folder


@pytest.fixture(scope="session")
def smooth_pictures(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, int, int], Path]:
    """Makes a folder of so many blurred random pictures of a height and width."""

    def make(count: int, height: int, width: int) -> Path:
        folder = tmp_path_factory.mktemp("pictures")
        for i in range(count):
            pixels = np.random.default_rng(i).integers(0, 256, (height, width, 3), np.uint8)
            Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(1)).save(folder / f"{i}.png")
        return folder

    return make


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test starts from the same random state."""
    torch.manual_seed(0)


TINY = {
    "edsr": {"blocks": 2, "features": 8},
    "rnet": {"blocks": 2, "features": 8},
    "carn": {"features": 8},
    "msrresnet": {"blocks": 2, "features": 8},
    "compact": {"convolutions": 4, "features": 8},
}


@pytest.fixture
def tiny() -> Callable[[str], Network]:
    return lambda architecture: build(architecture, TINY[architecture]).eval()


@pytest.fixture
def teacher() -> Network:
    return build("edsr", {"blocks": 2, "features": 8}).eval()


@pytest.fixture
def pictures() -> Callable[..., Tensor]:
    """Random 8-bit pictures in [0, 1]."""

    def make(count: int = 4, side: int = 12, seed: int = 1) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randint(0, 256, (count, 3, side, side), generator=generator) / 255

    return make


@pytest.fixture
def quantized(pictures: Callable[..., Tensor]) -> Callable[[Network, Policy], Network]:
    """Quantized with min-max ranges, not settled."""

    def quantize(network: Network, policy: Policy) -> Network:
        plan = resolve(network, policy)
        bounds = activation_bounds(network, plan, [pictures()], Collection(minmax, None))
        return insert_quantizers(network, plan, bounds, symmetric_max if policy.symmetric_weights else minmax)

    return quantize


@pytest.fixture(scope="session")
def driver() -> Iterator["WebDriver"]:
    """Headless Chromium, whose console is recorded."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium: pip install selenium")
    chromium, driver = (shutil.which(name) for name in ("chromium", "chromedriver"))
    if chromium is None or driver is None:
        pytest.skip("needs chromium and chromedriver: apt install chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("headless", "no-sandbox", *QUIET, "window-size=1200,1000"):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield browser
    browser.quit()
