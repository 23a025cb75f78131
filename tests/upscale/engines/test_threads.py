"""Engines in several threads, and in a process that was forked."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from srquant.insertion.branched_network import BranchedNetwork
from srquant.models.architectures.edsr import EDSR, facts
from srquant.models.network import Network
from srquant.upscale.engines.open_engine import open_engine

NAMES = ("torch", "openvino", "onnxruntime")
THREADS, CALLS = 8, 96
SIZES = ((24, 32), (32, 24), (16, 40))
"""One more than OpenVINO keeps compiled models for."""

SECONDS = 60
"""After which a forked process that waits forever ends itself."""


def pictures():
    random = np.random.default_rng(0)
    return [random.random((1, 3, *SIZES[i % len(SIZES)]), dtype=np.float32) for i in range(THREADS)]


def branched():
    torch.manual_seed(0)
    branches = tuple(Network(EDSR(1, 8, 2), facts(1, 8, 2)).eval() for _ in range(3))
    return BranchedNetwork(branches, torch.tensor([50.0, 60.0]))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("branches", [False, True])
def test_each_thread_gets_its_own_picture(network, name, branches):
    engine, given = open_engine(name, branched() if branches else network, threads=1), pictures()
    expected = [engine(images).copy() for images in given]
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(lambda i: engine(given[i % THREADS]), range(CALLS)))
    for i, picture in enumerate(found):
        np.testing.assert_array_equal(picture, expected[i % THREADS])


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_stays_when_the_next_one_is_upscaled(network, name):
    engine, given = open_engine(name, network), pictures()[0]
    first = engine(given)
    kept = first.copy()
    engine(1 - given)
    np.testing.assert_array_equal(first, kept)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("again", [False, True], ids=["opened before", "opened after"])
@pytest.mark.parametrize("name", NAMES)
def test_a_forked_process_gets_the_same_picture(network, name, again, tmp_path):
    """With threads that it doesn't have it would wait forever."""
    torch.set_num_threads(2)
    try:
        engine = open_engine(name, network, threads=2)
        given = np.random.default_rng(1).random((1, 3, 96, 96), dtype=np.float32)
        expected, made = engine(given), tmp_path / "made.npy"
        process = os.fork()
        if process == 0:
            in_forked_process(engine if not again else None, name, network, given, made)
        os.waitpid(process, 0)
    finally:
        torch.set_num_threads(1)
    np.testing.assert_array_equal(np.load(made), expected)


def in_forked_process(engine, name, network, given, made):
    """Upscale, write the result, and end the process."""
    import signal

    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(SECONDS)
    try:
        np.save(made, (engine or open_engine(name, network, threads=2))(given))
    finally:
        os._exit(0)
