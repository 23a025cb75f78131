"""Verbs killed at random moments: nothing half-written, and the same command makes what it makes in peace."""

import random
from pathlib import Path

from abuse_attempt import Attempt, Outcome
from abuse_undisturbed import Undisturbed
from abuse_verbs import VERBS, Place, start


def of_kills(folder: Path) -> Attempt:
    """A verb is killed before it ends, at times while it replaces its outputs; then the same command is run again."""
    peace = Undisturbed(folder)

    def attempt(chance: random.Random) -> Outcome:
        verb = chance.choice(sorted(VERBS))
        while True:
            again = verb != "evaluate" and chance.random() < 0.3
            with peace.place(verb, filled=again) as place:
                if killed(verb, place, again, chance.uniform(0, peace.seconds[verb])):
                    peace.check_whole(verb, place)
                    peace.finish(verb, place)
                    return "taken"

    return attempt


def killed(verb: str, place: Place, again: bool, seconds: float) -> bool:
    """Kill a run of a verb after so many seconds; whether it had not ended before.

    Args:
        verb: in ``VERBS``.
        place: where it runs.
        again: whether its outputs are there already and are replaced.
        seconds: from its start.
    """
    run = start([*place.arguments(verb), *(["--overwrite"] if again else [])], place.folder)
    run.process.join(seconds)
    run.process.kill()
    return run.end()[0] < 0
