"""Some kills, full disks, pairs of processes and threads; ``benchmarks/abuse.py`` tries more."""

import random
import signal

import abuse
import numpy as np
import pytest
from abuse_attempt import WrongPicture, network
from abuse_kills import killed
from abuse_threads import CALLS, check, drawn
from abuse_undisturbed import Undisturbed, WrongEnd, check_refused, finished_pictures, without_times

from srquant.upscale.engines.torch_engine import TorchEngine

COUNTS = {"kill": 3, "full disk": 2, "two processes": 2, "eight threads": 3}


@pytest.fixture(scope="module")
def peace(tmp_path_factory):
    return Undisturbed(tmp_path_factory.mktemp("peace"))


@pytest.mark.parametrize("kind", COUNTS)
def test_every_end_is_right(kind):
    row = abuse.measure(kind, COUNTS[kind])
    assert (row.failed, row.failures) == (0, ())
    assert row.tried == row.refused + row.taken == COUNTS[kind]
    if kind == "full disk":
        assert row.refused > 0


def test_a_run_is_killed(peace):
    with peace.place("train") as place:
        assert killed("train", place, again=False, seconds=0.0)
        assert not killed("train", place, again=False, seconds=30.0)


def test_half_a_file_is_noticed(peace):
    with peace.place("train", filled=True) as place:
        peace.check_whole("train", place)
        peace.check_same("train", place)
        model = place.outputs / "run" / "model.safetensors"
        model.write_bytes(model.read_bytes()[:-1])
        with pytest.raises(WrongEnd, match=r"model\.safetensors isn't a file that an undisturbed run writes"):
            peace.check_whole("train", place)
        with pytest.raises(WrongEnd, match=r"differ .*model\.safetensors"):
            peace.check_same("train", place)


def test_half_a_state_and_leftovers_are_noticed(peace):
    with peace.place("train", filled=True) as place:
        (place.temporary / "left").mkdir(parents=True)
        (place.temporary / "left" / "large").write_bytes(b"half")
        peace.check_whole("train", place)
        with pytest.raises(WrongEnd, match="temporary/left/large"):
            peace.check_same("train", place)
        state = place.outputs / "run" / "checkpoint.pt"
        state.write_bytes(state.read_bytes()[:-100])
        with pytest.raises((RuntimeError, OSError)):
            peace.check_whole("train", place)


def test_times_and_order_do_not_count():
    assert without_times("step,seconds\n1,0.5\n") == without_times("step,seconds\n1,0.7\n")
    assert without_times("step,seconds\n1,0.5\n") != without_times("step,seconds\n2,0.5\n")
    assert finished_pictures('{"a": 1}\n{"b": 2}') == finished_pictures('{"b": 2}\n{"a": 1}\n{"a": 1}\n{"c')


def test_a_traceback_is_no_refusal():
    check_refused("train", 1, "a note\nsrquant: no room\n")
    for code, printed in ((1, "Traceback ...\nsrquant: no"), (-signal.SIGSEGV, ""), (1, "no room")):
        with pytest.raises(WrongEnd, match="exit code"):
            check_refused("train", code, printed)


def test_a_picture_of_another_thread_is_noticed():
    chance = random.Random(0)
    pictures, tiles = zip(*(drawn(chance) for _ in range(8)), strict=True)
    wanted = [np.zeros((2 * len(picture), 2 * picture.shape[1], 3), np.uint8) for picture in pictures]
    assert len(wanted) < CALLS
    with pytest.raises(WrongPicture, match="call 0 of TorchEngine"):
        check(TorchEngine(network()), pictures, tiles, wanted)
