"""Damaged files of each kind, and what must come of them."""

import io
import json
import random
from pathlib import Path

import torch
from abuse_attempt import SIDE, Attempt, Outcome, WrongPicture, network, pixels, taken_or_refused
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from srquant.data.calibration import CalibrationSet
from srquant.deploy.file.save_load import CHECKSUM, HEADER, checksum, load, save
from srquant.deploy.frozen.freeze import freeze
from srquant.insertion.policy import LayerBits, Policy
from srquant.methods.registry import METHODS
from srquant.models.load import load_model
from srquant.upscale.engines.torch_engine import TorchEngine
from srquant.upscale.jobs.one_picture import upscale_file

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP")

TILE = 64
"""Side of tiles: by default they take as much memory as is free, when damage makes a picture large."""


def damaged(content: bytes, chance: random.Random) -> bytes:
    """The content with some of its bytes changed, left out, repeated, or cut off."""
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        place = chance.randrange(len(changed))
        length = min(chance.choice((1, 1, 2, 8, 64)), len(changed) - place)
        how = chance.randrange(5)
        if how == 0:
            changed[place] ^= 1 << chance.randrange(8)
        elif how == 1:
            changed[place : place + length] = chance.randbytes(length)
        elif how == 2:
            del changed[place : place + length]
        elif how == 3:
            changed[place:place] = changed[place : place + length]
        else:
            del changed[max(1, place) :]
        if not changed:
            return b"\0"
    return bytes(changed)


def quantized_file(folder: Path) -> Path:
    """A network quantized to 4 bits."""
    pictures = folder / "calibration"
    pictures.mkdir()
    Image.fromarray(pixels()).save(pictures / "a.png")
    calibration, method = CalibrationSet(pictures, 1, patch=16), METHODS["minmax"]
    path = folder / "network.safetensors"
    save(freeze(method.quantize(network(), calibration, Policy(LayerBits(4, 4)), method.config())), path)
    return path


def of_quantized(folder: Path) -> Attempt:
    """A damaged quantized file is refused, or gives the same picture."""
    path = quantized_file(folder)
    content, images = path.read_bytes(), torch.rand(1, 3, SIDE, SIDE)
    expected = load(path).network(images)

    def use() -> None:
        if not torch.equal(load(path).network(images), expected):
            raise WrongPicture("a damaged quantized file gave another picture")

    def attempt(chance: random.Random) -> Outcome:
        path.write_bytes(damaged(content, chance))
        return taken_or_refused(use)

    return attempt


def of_signed(folder: Path) -> Attempt:
    """A quantized file whose checksum was made to fit its damage is refused, or runs."""
    path = quantized_file(folder)
    tensors = load_file(path)
    del tensors[CHECKSUM]
    with safe_open(path, "pt") as file:
        header = file.metadata()[HEADER]

    def attempt(chance: random.Random) -> Outcome:
        text, changed = edited(header, chance), dict(tensors)
        if chance.random() < 0.5:
            name = chance.choice(sorted(changed))
            values = bytearray(changed[name].numpy().tobytes())
            values[chance.randrange(len(values))] ^= 1 << chance.randrange(8)
            changed[name] = torch.frombuffer(values, dtype=changed[name].dtype).view(changed[name].shape).clone()
        save_file(changed | {CHECKSUM: checksum(text, changed)}, path, {HEADER: text})
        return taken_or_refused(lambda: load(path).network(torch.rand(1, 3, 8, 8)))

    return attempt


def edited(header: str, chance: random.Random) -> str:
    """The JSON with one of its values replaced, or as it is."""
    values = json.loads(header)
    places: list[tuple[object, object]] = []

    def visit(value: object) -> None:
        inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, inner in inside:
            places.append((value, key))
            visit(inner)

    visit(values)
    holder, key = chance.choice(places)
    holder[key] = chance.choice((None, True, -1, 0, 7, 2**40, 1e300, "", "x", [], {}, [[]], {"a": 1}))  # type: ignore[index]
    return json.dumps(values) if chance.random() < 0.7 else header


def of_checkpoint(folder: Path, suffix: str) -> Attempt:
    """A damaged checkpoint is refused, or gives a network of finite weights."""
    path = folder / f"weights{suffix}"
    weights = network().module.state_dict()
    if suffix == ".safetensors":
        save_file(weights, path)
    else:
        torch.save({"params_ema": weights, "step": 3}, path)
    content = path.read_bytes()

    def use() -> None:
        if not all(bool(torch.isfinite(values).all()) for values in load_model(path).state_dict().values()):
            raise WrongPicture("a damaged checkpoint gave weights that are not finite")

    def attempt(chance: random.Random) -> Outcome:
        path.write_bytes(damaged(content, chance))
        return taken_or_refused(use)

    return attempt


def of_picture(folder: Path) -> Attempt:
    """A damaged picture is refused, or upscaled."""
    engine, target = TorchEngine(network()), folder / "large.png"
    contents = []
    for kind in FORMATS:
        stored = io.BytesIO()
        Image.fromarray(pixels()).save(stored, kind)
        contents.append(stored.getvalue())

    def attempt(chance: random.Random) -> Outcome:
        source = folder / "picture"
        source.write_bytes(damaged(chance.choice(contents), chance))
        return taken_or_refused(lambda: upscale_file(engine, source, target, overwrite=True, tile=TILE))

    return attempt
