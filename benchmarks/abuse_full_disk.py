"""Verbs that may not write large files, as on a full disk: one line, nothing half-written, and all is right later."""

import random
from pathlib import Path

from abuse_attempt import Attempt, Outcome
from abuse_undisturbed import Undisturbed, check_refused
from abuse_verbs import VERBS, run


def of_full_disk(folder: Path) -> Attempt:
    """A verb runs with a limit on the size of files; then the same command without it."""
    peace = Undisturbed(folder)

    def attempt(chance: random.Random) -> Outcome:
        verb = chance.choice(sorted(VERBS))
        with peace.place(verb) as place:
            largest = max(map(len, peace.contents[verb].values()))
            code, printed = run(verb, place, largest=chance.randrange(largest))
            if code:
                check_refused(verb, code, printed)
            peace.check_whole(verb, place)
            peace.finish(verb, place)
        return "refused" if code else "taken"

    return attempt
