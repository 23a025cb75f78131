"""Verbs killed at random moments: nothing half-written, and the same command makes what it makes in peace."""

import random
import time
from pathlib import Path

from abuse_attempt import Attempt, Outcome
from abuse_verbs import VERBS, Place, Undisturbed, start


def of_kills(folder: Path) -> Attempt:
    """A verb is killed before it ends; then the same command is run again."""
    peace = Undisturbed(folder)

    def attempt(chance: random.Random) -> Outcome:
        verb = chance.choice(sorted(VERBS))
        while True:
            with peace.place(verb) as place:
                if killed(verb, place, chance.uniform(0, peace.seconds[verb])):
                    peace.check_whole(verb, place)
                    peace.finish(verb, place)
                    return "taken"

    return attempt


def killed(verb: str, place: Place, seconds: float) -> bool:
    """Kill a run of a verb after so many seconds; whether it had not ended before."""
    run = start(place.arguments(verb), place.folder)
    time.sleep(seconds)
    run.process.kill()
    return run.end()[0] < 0
