"""Two processes that run one command at the same time: both end well or one is refused, and the result is right."""

import json
import random
import time
from pathlib import Path

from abuse_attempt import Attempt, Outcome
from abuse_undisturbed import Undisturbed, WrongEnd, check_refused
from abuse_verbs import PICTURES, Place, start

TOGETHER = ("quantize", "upscale", "export-xml", "export-onnx", "evaluate")
"""Verbs of which two runs may have one output. A training run's folder belongs to one run."""


def of_two_processes(folder: Path) -> Attempt:
    """A verb is started twice, the second one while the first one works."""
    peace = Undisturbed(folder)

    def attempt(chance: random.Random) -> Outcome:
        verb = chance.choice(TOGETHER)
        with peace.place(verb) as place:
            first = start(place.arguments(verb), place.folder)
            time.sleep(chance.uniform(0, peace.seconds[verb]))
            second = start(place.arguments(verb), place.folder)
            ends = [run.end() for run in (first, second)]
            for code, printed in ends:
                if code:
                    check_refused(verb, code, printed)
            if all(code for code, _ in ends):
                raise WrongEnd(f"{verb}: both were refused: {ends}")
            peace.check_same(verb, place)
            if verb == "upscale":
                check_done_once(place)
        return "refused" if any(code for code, _ in ends) else "taken"

    return attempt


def check_done_once(place: Place) -> None:
    """Check that the list of finished pictures has each picture once.

    Raises:
        WrongEnd: otherwise.
    """
    lines = (place.outputs / "large" / ".srquant-done.jsonl").read_text().strip().splitlines()
    names = [json.loads(line)["target"] for line in lines if line]
    if sorted(names) != [f"{number}.png" for number in range(PICTURES)]:
        raise WrongEnd(f"upscale: pictures done: {names}")
