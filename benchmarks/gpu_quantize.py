"""How long each post-training method takes on the device, and whether its network is the same on the CPU."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from gpu_setting import Setting
from gpu_store import Store, first_line

from srquant.data.find import list_images
from srquant.data.images import read_rgb
from srquant.deploy.file.save_load import load, save
from srquant.deploy.frozen.freeze import freeze
from srquant.insertion.policy import LayerBits, Policy
from srquant.methods.registry import METHODS
from srquant.upscale.engines.open_engine import open_engine
from srquant.upscale.engines.protocol import Engine

PAPER_SECONDS = {"gba": 26, "adabm": 50, "ptq4sr": 127}
"""On an RTX 3090, from the papers."""

SHORT = {
    "ptq4sr": ("iterations=2",),
    "gba": ("epochs=1",),
    "adabm": ("epochs=1",),
    "outlier-aware": ("epochs=1",),
    "2dquant": ("iterations=2", "batch=1"),
}
"""Settings of small runs; others run with the methods' defaults, which are the papers'."""

LONGEST = 60
"""Seconds for one method."""

SIDE, SMALL_SIDE = 96, 16
"""Of the picture on which devices are compared."""

INTERPRETED = ("minmax", "gba")
"""Whose networks small runs give to Triton's interpreter, which is slow."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Stop what takes longer, by a ``TimeoutError``."""

    def stop(number: int, frame: object) -> None:
        raise TimeoutError(f"stopped after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def quantize(setting: Setting, store: Store) -> None:
    """Quantize with every method, save the networks for ``agreement``, and note the seconds."""
    (setting.work / "quantized").mkdir(parents=True, exist_ok=True)
    for name in sorted(set(METHODS) - {"auto", "distill"}, key=lambda name: name not in PAPER_SECONDS):
        try:
            with at_most(LONGEST):
                seconds, note = quantize_one(setting, name), ""
        except Exception as error:  # one method's failure is a row, not the end of the step
            seconds, note = None, first_line(error)
        store.add(method=name, seconds=seconds, paper_seconds=PAPER_SECONDS.get(name), note=note)


def quantize_one(setting: Setting, name: str) -> float:
    """Seconds of one method; its network is saved."""
    from srquant.methods.options import configure

    method = METHODS[name]
    config = configure(method.config, known(method.config, SHORT.get(name, ()) if setting.small else ()))
    network, calibration = setting.network(), setting.calibration()
    quantized: list[Any] = []
    policy = Policy(LayerBits(4, 4))
    seconds = setting.seconds(lambda: quantized.append(method.quantize(network, calibration, policy, config)))
    save(freeze(quantized[0]), setting.work / "quantized" / f"{name}.safetensors")
    return seconds


def known(config: type[Any], settings: tuple[str, ...]) -> list[str]:
    """The settings whose option a method has."""
    from srquant.methods.options import options_of

    names = {option.name for option in options_of(config)}
    return [setting for setting in settings if setting.split("=")[0] in names]


def agreement(setting: Setting, store: Store) -> None:
    """Upscale one picture with every quantized network, on the CPU and on the device."""
    side = SMALL_SIDE if setting.small else SIDE
    image = read_rgb(list_images(setting.pictures())[0])[:side, :side]
    images = np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32) / np.float32(255)
    for path in sorted((setting.work / "quantized").glob("*.safetensors")):
        wanted = open_engine("torch", load(path).network)(images)
        names = ("torch",) if setting.small and path.stem not in INTERPRETED else ("torch", "triton")
        for name in names:
            try:
                engine: Engine = open_engine(name, load(path).network.to(setting.device))
                store.add(method=path.stem, engine=name, **differences(engine(images), wanted), note="")
            except Exception as error:  # a row as well
                store.add(method=path.stem, engine=name, note=first_line(error))


def differences(found: np.ndarray, wanted: np.ndarray) -> dict[str, Any]:
    """Largest difference of the 8-bit pictures in grey levels, share of equal pixels, and PSNR of one to the other."""
    pixels = [(np.clip(picture, 0, 1) * 255).round() for picture in (found, wanted)]
    distance = np.abs(pixels[0] - pixels[1])
    error = float(np.square(distance).mean())
    psnr = "same picture" if error == 0 else round(float(10 * np.log10(255**2 / error)), 2)
    bits = bool(torch.equal(torch.from_numpy(found), torch.from_numpy(wanted)))
    return {"largest": int(distance.max()), "equal": float((distance == 0).mean()), "psnr_db": psnr, "same_bits": bits}
