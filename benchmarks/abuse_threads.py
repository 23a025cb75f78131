"""Eight threads that use one engine: each gets its own picture."""

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from abuse_attempt import Attempt, Outcome, WrongPicture, network
from numpy.typing import NDArray

from srquant.upscale.engines.open_engine import open_engine
from srquant.upscale.engines.protocol import Engine
from srquant.upscale.tiles.upscale_tiles import upscale_array

THREADS, CALLS = 8, 24
ENGINES = ("torch", "openvino", "onnxruntime")
TILES = (8, 13, 16, 32)


def of_threads(folder: Path) -> Attempt:
    """Eight threads upscale pictures of their own in tiles; alone, each gives the same picture."""
    engines = {name: open_engine(name, network(), threads=1) for name in ENGINES}

    def attempt(chance: random.Random) -> Outcome:
        engine = engines[chance.choice(ENGINES)]
        pictures, tiles = zip(*(drawn(chance) for _ in range(THREADS)), strict=True)
        wanted = [upscale_array(engine, *given) for given in zip(pictures, tiles, strict=True)]
        check(engine, pictures, tiles, wanted)
        return "taken"

    return attempt


def drawn(chance: random.Random) -> tuple[NDArray[np.uint8], int]:
    """A picture of noise, and the side of its tiles."""
    shape = chance.randrange(8, 49), chance.randrange(8, 49), 3
    return np.frombuffer(chance.randbytes(int(np.prod(shape))), np.uint8).reshape(shape), chance.choice(TILES)


def check(
    engine: Engine,
    pictures: tuple[NDArray[np.uint8], ...],
    tiles: tuple[int, ...],
    wanted: list[NDArray[np.uint8]],
) -> None:
    """Check that ``CALLS`` calls of eight threads give what they gave alone.

    Raises:
        WrongPicture: otherwise.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        found = pool.map(lambda i: upscale_array(engine, pictures[i % THREADS], tiles[i % THREADS]), range(CALLS))
        for i, picture in enumerate(found):
            if not np.array_equal(picture, wanted[i % THREADS]):
                raise WrongPicture(f"call {i} of {type(engine).__name__} gave another picture than alone")
